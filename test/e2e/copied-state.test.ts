import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, describe, expect, it } from "vitest";
import { berth, type Fleet, freePorts, startFleet, until } from "../support/fleet.ts";

const AGENT_MAIN = path.resolve(import.meta.dirname, "../../cluster-agent/src/main.ts");
const NO_TIME = ["--within", "2", "-o", "json"] as const;

const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function aFleet(options: Parameters<typeof startFleet>[0] = {}): Promise<Fleet> {
  const fleet = await startFleet(options);
  cleanups.push(() => fleet.stop());
  return fleet;
}

function aDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), "berth-copy-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A copy of the running cluster-agent's data directory. */
function copyOf(fleet: Fleet): string {
  return copiedTo(path.join(fleet.dataDir, "cluster-agent"));
}

/** A second cluster-agent on a copy of the running one's data directory. */
async function startCopy(
  fleet: Fleet,
  directory = copyOf(fleet),
): Promise<{ readonly child: ChildProcess; log(): string }> {
  const ports = await freePorts();
  const child = spawn(process.execPath, [AGENT_MAIN], {
    env: {
      ...process.env,
      BERTH_SUPERVISED: "1",
      BERTH_DATA_DIR: directory,
      BERTH_CLUSTER_ID: "local",
      BERTH_HTTP_PORT: String(ports.cluster),
      BERTH_NODE_PORT: String(ports.node),
      BERTH_CONTROL_PLANE_URL: `http://127.0.0.1:${fleet.ports.agent}`,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      printed += chunk;
    });
  }
  const ended = once(child, "exit");
  cleanups.push(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, log: () => printed };
}

async function isAnswering(fleet: Fleet): Promise<boolean> {
  return (await berth(fleet, "ping", "local", ...NO_TIME)).code === 0;
}

async function instanceOf(fleet: Fleet): Promise<string | undefined> {
  const status = JSON.parse((await berth(fleet, "fleet", "status", "-o", "json")).stdout);
  return status.agents[0]?.agent_instance_id;
}

async function duplicates(fleet: Fleet) {
  return JSON.parse((await berth(fleet, "pick", "cluster", "local", "-o", "json")).stdout);
}

describe("two cluster-agents on copies of one data directory", () => {
  it("are both refused until an operator picks one; the first is never replaced", {
    timeout: 180_000,
  }, async () => {
    const fleet = await aFleet();
    await until(() => isAnswering(fleet), { what: () => "the agent to answer" });
    const first = await instanceOf(fleet);
    const copy = await startCopy(fleet);
    const seen = new Set<string | undefined>();
    await until(
      async () => {
        seen.add(await instanceOf(fleet));
        return (await duplicates(fleet)).state === "duplicate";
      },
      { limitMs: 60_000, what: () => `two agents to be noticed:\n${copy.log()}` },
    );
    // Until then the first one alone had the cluster; from then on nobody.
    seen.delete(undefined);
    expect([...seen]).toEqual([first]);
    expect((await duplicates(fleet)).candidates).toHaveLength(2);
    const events = await berth(fleet, "get", "events");
    expect(events.stdout).toContain("cluster_duplicate");
    expect(await isAnswering(fleet)).toBe(false);
    const picked = await berth(fleet, "pick", "cluster", "local", "--instance", String(first));
    expect(picked).toMatchObject({ code: 0 });
    await until(() => isAnswering(fleet), {
      limitMs: 60_000,
      what: () => `the picked agent to be back:\n${fleet.output()}`,
    });
    expect(await instanceOf(fleet)).toBe(first);
    await until(() => /picked another/.test(copy.log()), {
      limitMs: 30_000,
      what: () => `the copy to be refused:\n${copy.log()}`,
    });
  });
});

interface Command {
  readonly command_id: string;
  readonly state: string;
}

async function commands(fleet: Fleet): Promise<readonly Command[]> {
  const reply = await fetch(`http://127.0.0.1:${fleet.ports.http}/commands?limit=100`);
  return ((await reply.json()) as { data: readonly Command[] }).data;
}

/** How often an agent has carried an order out, by its own store; undefined when it never did. */
async function runsIn(directory: string, commandId: string): Promise<unknown> {
  const store = openSqliteDocumentStore(path.join(directory, "cluster.db"), systemClock);
  const key = { orgId: "default_org", collection: "command_runs", id: commandId };
  try {
    return (await store.get<{ readonly runs: number }>(key))?.body.runs;
  } finally {
    await store.close();
  }
}

describe("an order under way when a copy of the agent takes its place", () => {
  it("is not carried out again by the copy, which was made before it came", {
    timeout: 240_000,
  }, async () => {
    const fleet = await aFleet();
    await until(() => isAnswering(fleet), { what: () => "the agent to answer" });
    const directory = copyOf(fleet);
    const before = new Set((await commands(fleet)).map(({ command_id }) => command_id));
    const held = berth(fleet, "ping", "local", "--hold", "20", "--within", "120");
    const given = async () =>
      (await commands(fleet)).find(({ command_id }) => !before.has(command_id));
    await until(async () => (await given()) !== undefined, { what: () => "the order" });
    const { command_id: id = "" } = (await given()) ?? {};
    const first = fleet.pidOf("cluster-agent");
    // Acted on, which the agent's own store says, and held back before its answer.
    const own = path.join(fleet.dataDir, "cluster-agent");
    await until(async () => (await runsIn(copiedTo(own), id)) === 1, { what: () => "the run" });
    process.kill(first, "SIGSTOP");
    cleanups.push(() => {
      if (fleet.isRunning(first)) process.kill(first, "SIGCONT");
    });
    const copy = await startCopy(fleet, directory);
    const result = await held;
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("nobody knows whether this ran");
    // What came after it is carried out, so the copy has been offered all that it ever will be.
    await until(() => isAnswering(fleet), {
      limitMs: 60_000,
      what: () => `the copy to answer:\n${copy.log()}`,
    });
    expect((await berth(fleet, "get", "events")).stdout).toContain("agent_restored");
    process.kill(first, "SIGCONT");
    copy.child.kill("SIGTERM");
    await once(copy.child, "exit");
    expect(await runsIn(directory, id)).toBeUndefined();
    const after = (await commands(fleet)).find(({ command_id }) => command_id === id);
    expect(after?.state).toBe("refused");
  });
});

/** A copy of a directory, to look into while its owner goes on. */
function copiedTo(directory: string): string {
  const copy = aDirectory();
  cpSync(directory, copy, { recursive: true });
  return copy;
}

describe("a control-plane on a restored copy of its store", () => {
  it("gives no orders until it is adopted, also when it was started more often than the lost one", {
    timeout: 240_000,
  }, async () => {
    const dataDir = aDirectory();
    const backup = path.join(aDirectory(), "control-plane");
    const store = path.join(dataDir, "control-plane");
    const first = await startFleet({ dataDir });
    await until(() => isAnswering(first), { what: () => "the agent to answer" });
    await stopKeeping(first);
    cpSync(store, backup, { recursive: true });
    const second = await startFleet({ dataDir });
    await until(() => isAnswering(second), { what: () => "the agent to answer the second start" });
    await stopKeeping(second);
    rmSync(store, { recursive: true });
    cpSync(backup, store, { recursive: true });
    const restored = await aFleet({ dataDir });
    await expectRefusal(restored);
    // Starts of the restored store raise its term beyond what the lost one had reached.
    for (let start = 0; start < 2; start += 1) {
      const before = restored.pidOf("control-plane");
      process.kill(before, "SIGKILL");
      await until(() => !restored.isRunning(before) && restored.has("control-plane"), {
        what: () => "the control-plane to be started again",
      });
    }
    await expectRefusal(restored);
    const adopted = await berth(restored, "fleet", "adopt");
    expect(adopted.stdout).toContain("restored from an older copy");
    await until(() => isAnswering(restored), {
      limitMs: 60_000,
      what: () => "the agent to obey the adopted store",
    });
  });
});

async function expectRefusal(fleet: Fleet): Promise<void> {
  await until(
    async () => (await berth(fleet, "fleet", "status")).stdout.includes("RESTORED FROM AN OLDER"),
    { limitMs: 60_000, what: () => `the restored store to be noticed:\n${fleet.output()}` },
  );
  const refused = await berth(fleet, "ping", "local", ...NO_TIME);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("berth fleet adopt");
}

/** Ends a fleet as its supervisor's terminal would, and keeps what it has written. */
async function stopKeeping(fleet: Fleet): Promise<void> {
  fleet.process.kill("SIGTERM");
  await fleet.exited();
  await until(() => fleet.pids().length === 0, { what: () => "the fleet's processes to end" });
}
