import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePorts as takePorts } from "@berth/service-kit/testing/free-ports";

const ROOT = path.resolve(import.meta.dirname, "../..");
const BERTH = path.join(ROOT, "cli/bin/berth.js");
const READY_LIMIT_MS = 60_000;

/** Ports of one fleet on this machine. */
export interface FleetPorts {
  readonly http: number;
  readonly ws: number;
  readonly agent: number;
  readonly cluster: number;
  readonly node: number;
}

/** How {@link startFleet} starts a fleet. */
export interface FleetOptions {
  /** Data directory of an earlier fleet; a new one by default. */
  readonly dataDir?: string;
  readonly ports?: FleetPorts;
  readonly env?: Readonly<Record<string, string>>;
  /** Starts it with `npm start -- …` instead of the CLI itself. */
  readonly npm?: boolean;
  readonly args?: readonly string[];
}

/** The programs of a fleet. */
export type ProgramName = "control-plane" | "cluster-agent" | "node-agent";

/** A running `berth up` with its three programs. */
export interface Fleet {
  readonly dataDir: string;
  readonly ports: FleetPorts;
  /** The process that was started: npm or the supervisor. */
  readonly process: ChildProcess;
  /** Everything that it printed. */
  output(): string;
  /** Ids of the processes that belong to the fleet and have `part` in their command line. */
  pids(part?: string): readonly number[];
  /** Id of one program; throws when it is not running. */
  pidOf(program: ProgramName): number;
  /** Whether one program is running. */
  has(program: ProgramName): boolean;
  /** Whether a process of the fleet with this id is there. */
  isRunning(pid: number): boolean;
  /** Resolves with the exit code or signal. */
  exited(): Promise<number | NodeJS.Signals | null>;
  /** SIGTERM, wait, remove the data directory. */
  stop(): Promise<void>;
}

/** Ports that are free, and that no other test's process takes. */
export async function freePorts(): Promise<FleetPorts> {
  const [http = 0, ws = 0, agent = 0, cluster = 0, node = 0] = await takePorts(5);
  return { http, ws, agent, cluster, node };
}

/** Arguments of `berth up` for a data directory and ports. */
export function upArguments(dataDir: string, ports: FleetPorts): readonly string[] {
  const flags = { data: dataDir, ...ports };
  return Object.entries(flags).flatMap(([name, value]) =>
    name === "data" ? ["--data-dir", String(value)] : [`--${name}-port`, String(value)],
  );
}

/** Starts a fleet and waits until its node has joined. */
export async function startFleet(options: FleetOptions = {}): Promise<Fleet> {
  const fleet = await launchFleet(options);
  await until(
    () => {
      const { exitCode } = fleet.process;
      if (exitCode !== null) throw new Error(`berth up ended with ${exitCode}:\n${fleet.output()}`);
      return /berth allocate/.test(fleet.output());
    },
    { limitMs: READY_LIMIT_MS, what: () => `the fleet to be ready; so far:\n${fleet.output()}` },
  );
  return fleet;
}

/** Starts `berth up` and does not wait for anything. */
export async function launchFleet(options: FleetOptions = {}): Promise<Fleet> {
  const dataDir = options.dataDir ?? mkdtempSync(path.join(tmpdir(), "berth-e2e-"));
  const ports = options.ports ?? (await freePorts());
  const args = [...upArguments(dataDir, ports), ...(options.args ?? [])];
  const [file, ...rest] = options.npm
    ? ["npm", "start", "--silent", "--", ...args]
    : [process.execPath, BERTH, "up", ...args];
  const child = spawn(file ?? "", rest, {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
    });
  }
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
  return {
    dataDir,
    ports,
    process: child,
    output: () => printed,
    pids: (part) => processesOf(dataDir, part),
    pidOf: (program) => {
      const [pid] = processesOf(dataDir, `${program}/src/main.ts`);
      if (pid === undefined) throw new Error(`${program} is not running:\n${printed}`);
      return pid;
    },
    has: (program) => processesOf(dataDir, `${program}/src/main.ts`).length > 0,
    isRunning: (pid) => processesOf(dataDir).includes(pid),
    exited: () => exit,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await exit;
      await until(() => processesOf(dataDir).length === 0, {
        what: () => `processes ${processesOf(dataDir)} to end`,
      });
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Waits until a condition holds; rejects with what it waited for after the limit. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  options: { readonly limitMs?: number; readonly what: () => string },
): Promise<void> {
  const deadline = performance.now() + (options.limitMs ?? 15_000);
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited too long for ${options.what()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** What a finished command printed. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; killed after `limitMs`. */
export function run(
  file: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly limitMs?: number } = {},
): Promise<CommandResult> {
  const child = spawn(file, args, {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.limitMs ?? 30_000,
    killSignal: "SIGKILL",
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs the CLI against a fleet or a control-plane. */
export function berth(
  fleet: { readonly ports: { readonly http: number } },
  ...args: readonly string[]
): Promise<CommandResult> {
  const env = { BERTH_SERVER: `http://127.0.0.1:${fleet.ports.http}` };
  return run(process.execPath, [BERTH, ...args], { env });
}

/** Processes whose environment or arguments name a data directory; the caller itself is left out. */
function processesOf(dataDir: string, part = ""): readonly number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      if (args.includes(part) && (args + environment).includes(dataDir)) found.push(pid);
    } catch {
      // The process ended between the listing and the reading.
    }
  }
  return found;
}
