import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { removeAtEnd, spawnBound } from "./bound-process.ts";
import { hasExternal } from "./external.ts";
import { freePort } from "./free-ports.ts";

const START_MS = 15_000;
const PROBE_MS = 1_000;
const BETWEEN_PROBES_MS = 25;

/** A real server that a test may kill and start again. */
export interface ExternalServer {
  readonly port: number;
  /** URL for clients, with the user and password when it has them. */
  readonly url: string;
  /** kill -9; resolves when the process has gone. */
  kill9(): Promise<void>;
  /** Kills it when it runs and starts it with the same port and data, or none when it is flushed; resolves when it answers. */
  restart(options?: { readonly isFlushed?: boolean }): Promise<void>;
  /** Kills it and removes its data. */
  stop(): Promise<void>;
}

/** Whether `nats-server` is there, for `describe.skipIf`; always with BERTH_REQUIRE_EXTERNAL=1. */
export function hasNats(): boolean {
  return hasExternal("nats-server", ["--version"]);
}

/** Whether `redis-server` is there, for `describe.skipIf`; always with BERTH_REQUIRE_EXTERNAL=1. */
export function hasRedis(): boolean {
  return hasExternal("redis-server", ["--version"]);
}

/** How {@link startNatsServer} starts. */
export interface NatsServerOptions {
  readonly jetStream?: boolean;
  /** A free one by default. */
  readonly port?: number;
  /** Password of the user "berth"; none by default. */
  readonly password?: string;
  /** 1 MiB by default. */
  readonly maxPayloadBytes?: number;
}

/** Starts a NATS server; rejects when it does not answer within 15 s. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<ExternalServer> {
  const port = options.port ?? (await freePort());
  const { password, maxPayloadBytes } = options;
  const configuration = (directory: string) => {
    const file = path.join(directory, "nats.conf");
    writeFileSync(file, `max_payload: ${maxPayloadBytes}\n`);
    return file;
  };
  return await startServer({
    file: "nats-server",
    port,
    url: `nats://${password === undefined ? "" : `berth:${password}@`}127.0.0.1:${port}`,
    args: (directory) => [
      ...["-a", "127.0.0.1", "-p", String(port)],
      ...(maxPayloadBytes === undefined ? [] : ["-c", configuration(directory)]),
      ...(options.jetStream === true ? ["-js", "-sd", directory] : []),
      ...(password === undefined ? [] : ["--user", "berth", "--pass", password]),
    ],
    probe: { send: "", expect: /^INFO / },
  });
}

/** How {@link startRedisServer} starts. */
export interface RedisServerOptions {
  /** None by default. */
  readonly password?: string;
  /** A free one by default. */
  readonly port?: number;
  /** It has what it took after a restart, too; false by default. */
  readonly isDurable?: boolean;
}

/** Starts a Redis server that keeps nothing on disk, unless it is told to; rejects when it does not answer within 15 s. */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<ExternalServer> {
  const port = options.port ?? (await freePort());
  const password = options.password;
  return await startServer({
    file: "redis-server",
    port,
    url: `redis://${password === undefined ? "" : `:${password}@`}127.0.0.1:${port}`,
    args: (directory) => [
      ...["--bind", "127.0.0.1", "--port", String(port), "--dir", directory],
      ...[
        "--save",
        "",
        "--appendonly",
        options.isDurable ? "yes" : "no",
        "--appendfsync",
        "always",
      ],
      ...(password === undefined ? [] : ["--requirepass", password]),
    ],
    probe: { send: "PING\r\n", expect: /^(\+PONG|-NOAUTH)/ },
  });
}

interface ServerPlan {
  readonly file: string;
  readonly port: number;
  readonly url: string;
  readonly args: (directory: string) => readonly string[];
  readonly probe: { readonly send: string; readonly expect: RegExp };
}

async function startServer(plan: ServerPlan): Promise<ExternalServer> {
  const directory = mkdtempSync(path.join(tmpdir(), `berth-${plan.file}-`));
  const callOff = removeAtEnd(directory);
  let child: ChildProcess | undefined;
  const kill9 = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  const restart: ExternalServer["restart"] = async ({ isFlushed = false } = {}) => {
    await kill9();
    if (isFlushed) {
      rmSync(directory, { recursive: true, force: true });
      mkdirSync(directory);
    }
    child = spawnBound(plan.file, plan.args(directory), { output: "ignore" });
    await untilAnswers(plan, child);
  };
  const stop = async (): Promise<void> => {
    await kill9();
    rmSync(directory, { recursive: true, force: true });
    callOff();
  };
  try {
    await restart();
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { port: plan.port, url: plan.url, kill9, restart, stop };
}

async function untilAnswers(plan: ServerPlan, child: ChildProcess): Promise<void> {
  let failure: Error | undefined;
  child.once("error", (error) => {
    failure = error;
  });
  const endMs = performance.now() + START_MS;
  while (performance.now() < endMs) {
    if (failure !== undefined) throw failure;
    if (child.exitCode !== null) throw new Error(`${plan.file} ended with ${child.exitCode}`);
    if (await answers(plan)) return;
    await delay(BETWEEN_PROBES_MS);
  }
  throw new Error(`an answer of ${plan.file} on port ${plan.port} within ${START_MS} ms`);
}

async function answers(plan: ServerPlan): Promise<boolean> {
  const socket = connect(plan.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.setTimeout(PROBE_MS, () => socket.destroy(new Error("no answer")));
  try {
    socket.write(plan.probe.send);
    const [chunk] = await once(socket, "data");
    return plan.probe.expect.test(String(chunk));
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
