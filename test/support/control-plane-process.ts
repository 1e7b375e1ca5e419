import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePorts, until } from "./fleet.ts";

const MAIN = path.resolve(import.meta.dirname, "../../control-plane/src/main.ts");
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;
/** Enrolment token that any number of agents of this machine may use. */
const LOCAL_TOKEN = `berth1.${"s".repeat(43)}`;

/** How {@link startControlPlane} starts one. */
export interface ControlPlaneOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** A control-plane alone, in a process of its own, on free ports and a temporary data directory. */
export interface ControlPlaneProcess {
  /** Of the process that runs now: {@link restart} changes it. */
  readonly pid: number;
  /** "http://127.0.0.1:8000". */
  readonly restUrl: string;
  /** "ws://127.0.0.1:8765". */
  readonly wsUrl: string;
  /** "http://127.0.0.1:7443", which agents dial. */
  readonly agentUrl: string;
  readonly ports: { readonly http: number; readonly ws: number; readonly agent: number };
  /** Token that agents enrol with. */
  readonly token: string;
  /** Clusters whose agents the present process has taken in and not lost again. */
  liveClusters(): number;
  /** The newest lines that it printed. */
  output(): string;
  /** kill -9, then a new process on the same data and ports; resolves as soon as that one runs. */
  restart(): Promise<void>;
  /** Publishes a policy from one Python source under `<name>:1-bench`, which it gives. */
  publish(name: string, source: string): Promise<string>;
  /** SIGTERM, wait, remove the data directory. */
  stop(): Promise<void>;
}

/** Starts a control-plane and waits until it can decide. */
export async function startControlPlane(
  options: ControlPlaneOptions = {},
): Promise<ControlPlaneProcess> {
  const dataDir = mkdtempSync(path.join(tmpdir(), "berth-control-plane-"));
  const ports = await freePorts();
  const env = {
    ...process.env,
    // It ends with this process, however this one ends.
    BERTH_SUPERVISED: "1",
    BERTH_DATA_DIR: dataDir,
    BERTH_HTTP_PORT: String(ports.http),
    BERTH_WS_PORT: String(ports.ws),
    BERTH_AGENT_PORT: String(ports.agent),
    BERTH_LOCAL_TOKEN: LOCAL_TOKEN,
    ...options.env,
  };
  let life = startLife(env);
  const restUrl = `http://127.0.0.1:${ports.http}`;
  await until(() => isReady(restUrl, life), {
    limitMs: READY_LIMIT_MS,
    what: () => `the control-plane to be ready:\n${life.output()}`,
  });
  return {
    get pid() {
      return life.child.pid ?? 0;
    },
    restUrl,
    wsUrl: `ws://127.0.0.1:${ports.ws}`,
    agentUrl: `http://127.0.0.1:${ports.agent}`,
    ports,
    token: LOCAL_TOKEN,
    liveClusters: () => life.liveClusters(),
    output: () => life.output(),
    async restart() {
      life.child.kill("SIGKILL");
      await life.ended;
      life = startLife(env);
    },
    publish: (name, source) => publish(restUrl, name, source),
    async stop() {
      const late = setTimeout(() => life.child.kill("SIGKILL"), STOP_LIMIT_MS);
      life.child.kill("SIGTERM");
      await life.ended;
      clearTimeout(late);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

interface Life {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  output(): string;
  liveClusters(): number;
}

function startLife(env: NodeJS.ProcessEnv): Life {
  const child = spawn(process.execPath, [MAIN], { env, stdio: ["pipe", "pipe", "pipe"] });
  const ended = once(child, "exit");
  // Nothing is ever written to it.
  child.stdin.on("error", () => undefined);
  let printed = "";
  let unfinished = "";
  const live = new Set<string>();
  child.stderr.on("data", (chunk) => {
    printed = (printed + chunk).slice(-16_000);
  });
  child.stdout.on("data", (chunk) => {
    printed = (printed + chunk).slice(-16_000);
    const lines = (unfinished + chunk).split("\n");
    unfinished = lines.pop() ?? "";
    for (const line of lines) followHealth(live, line);
  });
  return { child, ended, output: () => printed, liveClusters: () => live.size };
}

/** The log tells each change of a cluster's health once, at no cost to the process that is measured. */
function followHealth(live: Set<string>, line: string): void {
  if (!line.includes('"cluster_id"')) return;
  const { msg, cluster_id: clusterId } = JSON.parse(line);
  if (msg === "cluster is live") live.add(clusterId);
  else if (msg === "cluster is unreachable") live.delete(clusterId);
}

async function isReady(restUrl: string, { child, output }: Life): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) {
    throw new Error(
      `the control-plane ended with ${child.exitCode ?? child.signalCode}: ${output()}`,
    );
  }
  try {
    return (await fetch(`${restUrl}/readyz`)).ok;
  } catch {
    return false;
  }
}

async function publish(restUrl: string, name: string, source: string): Promise<string> {
  const body = { name, version: "1", release_tag: "bench", files: { "code/function.py": source } };
  const reply = await fetch(`${restUrl}/policy`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`policy ${name} was not published: ${await reply.text()}`);
  return `${name}:1-bench`;
}
