import type { CliContext } from "./context.ts";

const LAUNCHER_CHECK_MS = 500;
/** What Ctrl-D types. */
const END_OF_INPUT = "\u0004";

/** The parts of `node:process` that the command line uses. */
export type ProcessLike = Pick<
  NodeJS.Process,
  | "argv"
  | "env"
  | "cwd"
  | "execPath"
  | "pid"
  | "ppid"
  | "stdin"
  | "stdout"
  | "stderr"
  | "kill"
  | "on"
>;

/**
 * The context of a real process. Stop requests are SIGINT, SIGTERM, SIGHUP, and the end of the
 * launcher that started this process under another Node (BERTH_LAUNCHER_PID). Signals keep their
 * default meaning until a command asks for stop requests.
 */
export function processContext(process: ProcessLike): CliContext {
  for (const stream of [process.stdout, process.stderr]) {
    // A reader that left (`berth get nodes | head -1`, a closed terminal) is no failure of ours.
    stream.on("error", () => undefined);
  }
  return {
    args: process.argv.slice(2),
    env: process.env,
    cwd: process.cwd(),
    execPath: process.execPath,
    pid: process.pid,
    stdout: process.stdout,
    stderr: process.stderr,
    kill: (pid, signal) => {
      process.kill(pid, signal);
    },
    onStopRequest: (listener) => {
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, listener);
      watchLauncher(process, listener);
    },
    onOutputClosed: (listener) => {
      process.stdout.on("error", listener);
    },
    onResize: (listener) => {
      process.stdout.on("resize", listener);
      return () => process.stdout.off("resize", listener);
    },
    onKeys: (listener) => listenToKeys(process.stdin, listener),
  };
}

function listenToKeys(stdin: ProcessLike["stdin"], listener: (text: string) => void): () => void {
  if (!stdin.isTTY) return () => undefined;
  const onData = (chunk: Buffer) => listener(chunk.toString());
  // A terminal that is gone types no more: an error that nobody hears would end the process.
  const onGone = () => listener(END_OF_INPUT);
  stdin.setRawMode(true);
  stdin.on("data", onData).on("end", onGone).on("error", onGone).resume();
  return () => {
    stdin.off("data", onData).off("end", onGone).pause();
    // Of a terminal that is gone the mode cannot be set, and need not be.
    if (!stdin.destroyed) stdin.setRawMode(false);
  };
}

function watchLauncher(process: ProcessLike, onGone: () => void): void {
  const launcher = Number(process.env.BERTH_LAUNCHER_PID);
  if (!Number.isInteger(launcher) || launcher <= 0) return;
  const timer = setInterval(() => {
    if (process.ppid === launcher) return;
    clearInterval(timer);
    onGone();
  }, LAUNCHER_CHECK_MS);
  timer.unref();
}
