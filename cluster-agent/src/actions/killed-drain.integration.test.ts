import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { AllocationDocument, OperationDocument } from "@berth/proto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AgentLife } from "../../../test/soak/agent-life.ts";
import { LOCAL_TOKEN } from "../testing/agent.ts";
import { until } from "../testing/fixtures.ts";
import { ECHO_COMMAND, isLiving, LocalProcesses, script } from "../testing/local-processes.ts";

/** Instances that are on the node that is removed. */
const INSTANCES = 3;
const LIMIT_MS = 60_000;

/**
 * Each start leaves a line in a file: whose it is, where, and as what process. What is moved listens when the gate lets so
 * many of them through.
 */
const CODE = `
  const { INSTANCE_ID, NODE_ID, FOLDER } = process.env;
  fs.appendFileSync(FOLDER + "/starts", [INSTANCE_ID, NODE_ID, process.pid].join(" ") + "\\n");
  const moved = fs.readFileSync(FOLDER + "/starts", "utf8").split(" node-1 ").length - 1;
  const waiting = setInterval(() => {
    if (NODE_ID === "node-1" && moved > Number(fs.readFileSync(FOLDER + "/gate"))) return;
    clearInterval(waiting);
    import(${JSON.stringify(ECHO_COMMAND[1])});
  }, 20)`;

let local: LocalProcesses;
let life: AgentLife;
let url: string;

/** A new life of the agent's process, over what the last one has left. */
async function begin(): Promise<void> {
  const env = {
    ...{ BERTH_DATA_DIR: local.dataDir, BERTH_HTTP_PORT: "0", BERTH_NODE_PORT: "0" },
    ...{ BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9", BERTH_LOCAL_TOKEN: LOCAL_TOKEN },
    // Its nodes report once in each life.
    BERTH_NODE_TTL_MS: "600000",
  };
  life = new AgentLife(env, { nodes: 2, gpusPerNode: 4 });
  url = (await life.ready()) ?? "";
  expect(url, life.errors()).not.toBe("");
}

beforeEach(async () => {
  local = new LocalProcesses("processes");
  writeFileSync(path.join(local.dataDir, "starts"), "");
  letThrough(0);
  await begin();
  const env = { FOLDER: local.dataDir };
  const component = { containerRegistryInfo: { command: script(CODE), env } };
  const resources = { gpus: 1, cpuMillis: 10, memoryMiB: 16 };
  await act({
    action: "create_block",
    block_data: { id: "b", component, resources, minInstances: 0 },
  });
  const allocation_data = Array.from({ length: INSTANCES }, (_, gpu) => ({
    ...{ node_id: "node-0", gpu_ids: [gpu] },
  }));
  await act({ action: "scale", operation: "scale", block_id: "b", allocation_data });
  await until(
    "all to be ready",
    async () => (await places()).every(({ ready }) => ready),
    LIMIT_MS,
  );
}, 120_000);

afterEach(async () => {
  await life.end();
  local.dispose();
});

function letThrough(count: number): void {
  writeFileSync(path.join(local.dataDir, "gate"), String(count));
}

interface Place {
  readonly instance_id: string;
  readonly node_id: string;
  readonly ready: boolean;
}

async function ask<T>(method: string, route: string, body?: object): Promise<T> {
  const headers = { "content-type": "application/json" };
  const payload = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  const answer = await fetch(`${url}${route}`, { method, ...payload });
  const told = (await answer.json()) as { readonly data: T };
  expect(answer.ok, JSON.stringify(told)).toBe(true);
  return told.data;
}

const act = (fields: object) => ask("POST", "/executeAction", fields);
const places = async () =>
  (await ask<{ readonly instances: readonly Place[] }>("GET", "/blocks/b")).instances;
const moves = async () =>
  (await ask<readonly OperationDocument[]>("GET", "/operations?block_id=b")).filter(
    ({ action }) => action === "reassign-instances",
  );

/** Programs that were started, from the first to the last. */
function starts() {
  const lines = readFileSync(path.join(local.dataDir, "starts"), "utf8").split("\n").slice(0, -1);
  return lines.map((line) => {
    const [instanceId = "", nodeId, pid] = line.split(" ");
    return { instanceId, nodeId, pid: Number(pid) };
  });
}

/** Moments at which the agent is killed: how many moves come to their end before, and what is awaited. */
const KILLS: readonly (readonly [string, number, () => boolean | Promise<boolean>])[] = [
  ["as soon as it is accepted", 0, () => true],
  ["in the midst of its first move", 0, () => starts().length > INSTANCES],
  ["behind its first move", 1, async () => (await moves()).some(({ state }) => state === "done")],
];

it.each(KILLS)(
  "a node's removal whose agent is killed %s goes on, and moves each instance once",
  { timeout: 240_000 },
  async (when, count, isDue) => {
    letThrough(count);
    type Accepted = { readonly operation_id: string };
    const route = "/cluster-actions/remove-node/node-0?wait=false";
    const { operation_id: id } = await ask<Accepted>("DELETE", route);
    await until(when, isDue, LIMIT_MS);
    await life.end();
    letThrough(INSTANCES);
    await begin();
    const removal = () => ask<OperationDocument>("GET", `/operations/${id}`);
    await until("its end", async () => (await removal()).state !== "running", LIMIT_MS);
    const result = { node_id: "node-0", moved: INSTANCES, ended: 0 };
    expect(await removal()).toMatchObject({ state: "done", result });
    expect((await moves()).map(({ state }) => state)).toEqual(Array(INSTANCES).fill("done"));
    expect(await ask("GET", "/nodes/node-0")).toMatchObject({ state: "removed" });
    await isMovedOnce();
  },
);

/** What runs, what is recorded and what is held are the same: one instance elsewhere for each that was moved. */
async function isMovedOnce(): Promise<void> {
  const now = await places();
  expect(now.map((one) => [one.node_id, one.ready])).toEqual(
    Array(INSTANCES).fill(["node-1", true]),
  );
  const ids = now.map(({ instance_id: one }) => one).toSorted();
  const held = await ask<readonly AllocationDocument[]>("GET", "/allocations");
  expect(held.map((one) => one.instance_id).toSorted()).toEqual(ids);
  expect(held.filter(({ orphan, node_id: node }) => orphan || node !== "node-1")).toEqual([]);
  expect(new Set(held.flatMap(({ gpus }) => gpus.map(({ uuid }) => uuid))).size).toBe(INSTANCES);
  const started = starts();
  expect(started.slice(0, INSTANCES).filter(({ pid }) => isLiving(pid))).toEqual([]);
  const fresh = started.slice(INSTANCES);
  expect(fresh.map(({ instanceId }) => instanceId).toSorted()).toEqual(ids);
  expect(fresh.every(({ nodeId, pid }) => nodeId === "node-1" && isLiving(pid))).toBe(true);
}
