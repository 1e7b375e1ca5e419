import { type ChildProcess, spawn } from "node:child_process";

/** How {@link spawnBound} starts a process. */
export interface BoundOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** What becomes of what it prints: piped, to be read, by default. */
  readonly output?: "pipe" | "ignore";
}

/** Starts a process that the kernel kills when this one ends, however this one ends. */
export function spawnBound(
  file: string,
  args: readonly string[],
  { output = "pipe", ...options }: BoundOptions = {},
): ChildProcess {
  const bound = ["--pdeathsig", "KILL", "--", file, ...args];
  return spawn("setpriv", bound, { ...options, stdio: ["ignore", output, output] });
}

/**
 * Removes a directory when this process ends without having done so. Gives what calls that off.
 */
export function removeAtEnd(directory: string): () => void {
  // The pause leaves the kernel the time to kill those who still write there.
  const script = 'cat >/dev/null; sleep 1; rm -rf "$1"';
  const guard = spawn("sh", ["-c", script, "sh", directory], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guard.stdin.on("error", () => undefined);
  guard.unref();
  return () => {
    guard.kill("SIGKILL");
  };
}
