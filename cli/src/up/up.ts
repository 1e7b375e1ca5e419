import { cpus } from "node:os";
import { EXIT_CODES } from "../cli-error.ts";
import type { CliContext } from "../context.ts";
import { waitUntilSimReady } from "../sim/sim-readiness.ts";
import { renderSimSummary } from "../sim/sim-summary.ts";
import { type DataDir, openDataDir } from "./data-dir.ts";
import {
  announcesStart,
  type ProgramName,
  portUrl,
  programEnvironment,
  programsOf,
  type UpSettings,
} from "./environment.ts";
import { LogFile } from "./log-file.ts";
import { inOwnWords } from "./own-words.ts";
import { ProgramVoices } from "./program-voices.ts";
import { followSandbox, type ReadinessWatch, waitUntilReady } from "./readiness.ts";
import { renderSummary } from "./summary.ts";
import { type GaveUp, Supervisor } from "./supervisor.ts";
import { Terminal } from "./terminal.ts";

const HINT_MS = 30_000;

/** File that Node runs, for each program. */
export type ProgramFiles = Readonly<Record<ProgramName, string>>;

type Outcome = { readonly kind: "stopped" } | { readonly kind: "gave-up"; readonly why: GaveUp };

/**
 * Runs the programs of this machine's fleet, or of a simulated one, until the user asks to stop (exit code 0) or one
 * of them cannot be kept running (exit code 1). No process is left behind. Throws a CliError when
 * the data directory cannot be used, or when the control-plane keeps refusing the cluster-agent.
 */
export async function runUp(
  settings: UpSettings,
  files: ProgramFiles,
  context: CliContext,
): Promise<number> {
  const stopped = new Promise<Outcome>((resolve) => {
    context.onStopRequest(() => resolve({ kind: "stopped" }));
  });
  const dataDir = openDataDir({
    path: settings.dataDir,
    programs: programsOf(settings),
    pid: context.pid,
  });
  try {
    return await supervise({ settings, files, context, dataDir, stopped });
  } finally {
    dataDir.release();
  }
}

interface Run {
  readonly settings: UpSettings;
  readonly files: ProgramFiles;
  readonly context: CliContext;
  readonly dataDir: DataDir;
  readonly stopped: Promise<Outcome>;
}

async function supervise(run: Run): Promise<number> {
  const terminal = new Terminal(run.context.stdout);
  const programs = programsOf(run.settings);
  const logs = openLogs(run.dataDir, terminal, programs);
  const voices = new ProgramVoices({ terminal, logs, verbose: run.settings.verbose });
  const supervisor = new Supervisor({
    programs: programs.map((name) => ({
      name,
      file: run.files[name],
      env: programEnvironment(name, {
        settings: run.settings,
        tokens: run.dataDir.tokens,
        callerEnv: run.context.env,
      }),
      announcesStart: announcesStart(run.context.env),
    })),
    control: run.context,
    listener: voices,
  });
  const readiness = new AbortController();
  try {
    supervisor.start();
    const announced = announceWhenReady(run, { supervisor, terminal, signal: readiness.signal });
    const gaveUp = supervisor.gaveUp.then((why): Outcome => ({ kind: "gave-up", why }));
    // A failure of the announcement ends the run; its success only lets the run go on.
    const outcome = await Promise.race([run.stopped, gaveUp, announced.then(() => run.stopped)]);
    readiness.abort();
    terminal.status("");
    if (outcome.kind === "stopped") terminal.print("stopping");
    await supervisor.stop();
    if (outcome.kind === "stopped") return EXIT_CODES.ok;
    run.context.stderr.write(gaveUpText(outcome.why, run.dataDir));
    return EXIT_CODES.failed;
  } finally {
    readiness.abort();
    terminal.status("");
    await supervisor.stop();
    for (const log of logs.values()) log.close();
  }
}

function openLogs(
  dataDir: DataDir,
  terminal: Terminal,
  programs: readonly ProgramName[],
): ReadonlyMap<string, LogFile> {
  const onError = (message: string) => terminal.print(message);
  return new Map(programs.map((name) => [name, new LogFile(dataDir.logPath(name), onError)]));
}

async function announceWhenReady(
  run: Run,
  parts: { supervisor: Supervisor; terminal: Terminal; signal: AbortSignal },
): Promise<void> {
  const { supervisor, terminal, signal } = parts;
  const bornMs = performance.now();
  const watch = {
    settings: run.settings,
    signal,
    notUp: () => supervisor.notUp(),
    onWaiting: (forWhat: string) => terminal.status(`waiting for ${forWhat}`),
    onRefused: (lines: readonly string[]) => {
      for (const line of lines) terminal.print(line);
    },
  };
  const facts = await hinted(run, terminal, () => readyFacts(run.settings, watch));
  if (facts === undefined || signal.aborted) return;
  terminal.status("");
  const { settings } = run;
  const tookMs = performance.now() - bornMs;
  const summary =
    facts.kind === "sim"
      ? renderSimSummary({ settings, fleet: facts.fleet, tookMs })
      : renderSummary({
          settings,
          cluster: facts.cluster,
          tookMs,
          localCpuModel: cpus()[0]?.model,
        });
  for (const line of summary) terminal.print(line);
  await followSandbox({
    settings: run.settings,
    signal,
    onChange: (line) => terminal.print(line),
  });
}

/** Tells where the logs are while something takes long. */
async function hinted<T>(run: Run, terminal: Terminal, wait: () => Promise<T>): Promise<T> {
  const hint = setTimeout(() => {
    terminal.print(`this takes long; the programs' logs are in ${run.dataDir.path}/logs`);
  }, HINT_MS);
  try {
    return await wait();
  } finally {
    clearTimeout(hint);
  }
}

/** Waits for what the summary tells; undefined when the signal is aborted first. */
async function readyFacts({ host, sim }: UpSettings, watch: ReadinessWatch) {
  if (sim !== undefined) {
    const url = portUrl(host, sim.port);
    const fleet = await waitUntilSimReady({ ...watch, url, name: sim.name });
    return fleet && ({ kind: "sim", fleet } as const);
  }
  const cluster = await waitUntilReady(watch);
  return cluster && ({ kind: "machine", cluster } as const);
}

function gaveUpText(why: GaveUp, dataDir: DataDir): string {
  const { program, failures } = why;
  const said = why.lastError ?? `it ${why.how} without a word on standard error`;
  const often = failures === 1 ? "" : ` ${failures} times in a row`;
  // A program's own messages begin with its name, which stands here already.
  const what = said.startsWith(`${program}: `) ? said.slice(program.length + 2) : said;
  return (
    `error: ${program} failed to start${often}: ${inOwnWords(program, what)}\n` +
    `log: ${dataDir.logPath(why.program)}\n`
  );
}
