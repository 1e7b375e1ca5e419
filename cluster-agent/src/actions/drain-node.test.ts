import {
  BerthError,
  KeyedDocuments,
  openSqliteDocumentStore,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { InstanceRecord } from "../blocks/block-records.ts";
import type { AllocationHold } from "../ledger/claim.ts";
import { type NodeRoster, openNodeRoster } from "../nodes/node-roster.ts";
import { instanceOf } from "../testing/block-fixtures.ts";
import { type DrainDeps, drainNode } from "./drain-node.ts";
import type { OperationRecord, RunningOperation } from "./operation.ts";
import type { OperationRequest } from "./operation-runner.ts";

const OP = "0b5f9a52-5a68-4c0e-9b4e-3a4c3b0a9a11";

let store: ReturnType<typeof openSqliteDocumentStore>;
let roster: NodeRoster;
let there: Map<string, AllocationHold>;
let records: Map<string, InstanceRecord>;
/** Operations by their idempotency keys, as a runner keeps them over restarts. */
let children: Map<string, OperationRecord>;
/** What becomes of an operation the first time that it is asked for. */
let outcome: (request: OperationRequest) => Partial<OperationRecord>;
let retired: string[];
/** Calls of what the drain works with that are let through; the next one finds the agent killed. */
let callsLeft: number;
/** Ids of operations that were called back. */
let cancelled: string[];
let isForcedWaiting: boolean;

beforeEach(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  const documents = new KeyedDocuments<never>({ store, orgId: "o", collection: "l" });
  const joined = new Map([["node-a", { firstSeenAt: "2026-11-22T12:00:00.000Z" }]]);
  roster = await openNodeRoster({ documents, clock: systemClock, joined });
  there = new Map();
  records = new Map();
  children = new Map();
  retired = [];
  outcome = moved;
  callsLeft = Number.POSITIVE_INFINITY;
  cancelled = [];
  isForcedWaiting = false;
});
afterEach(() => store.close());

function runs(instanceId: string, more: { readonly isRecorded?: boolean } = {}): void {
  const claim = { nodeId: "node-a", devices: [], cpuMillis: 1, memoryMiB: 1, storageMiB: 0 };
  const purpose = { blockId: "b", instanceId, operationId: "o" };
  const state = "committed" as const;
  there.set(instanceId, {
    kind: "allocation",
    id: `al-${instanceId}`,
    claim,
    purpose,
    state,
    takenAt: "",
  });
  if (more.isRecorded !== false) records.set(instanceId, instanceOf("b", instanceId));
}

const instanceOfRequest = ({ inputJson }: OperationRequest): string => {
  const { instanceId, instanceIds } = JSON.parse(inputJson);
  return instanceId ?? instanceIds[0];
};
/** It is done at once, and nothing of the instance is left there. */
function moved(request: OperationRequest): Partial<OperationRecord> {
  there.delete(instanceOfRequest(request));
  return { state: "done" };
}
const failed = (message: string) => (): Partial<OperationRecord> => ({
  state: "failed",
  error: { reason: "CONFLICT", message },
});

function call<T>(does: () => T): T {
  if (callsLeft <= 0) throw new Error("the agent was killed");
  callsLeft -= 1;
  return does();
}

function accept(request: OperationRequest): OperationRecord {
  const key = request.idempotencyKey ?? "";
  const known = children.get(key);
  if (known !== undefined) return known;
  const about = { id: `child-${children.size}`, state: "running", step: "s", attempts: 0 } as const;
  const accepted = { ...request, ...about } as OperationRecord;
  children.set(key, { ...accepted, ...outcome(request) });
  return accepted;
}

const deps = (): DrainDeps => ({
  roster: {
    step: async (id, event) => call(() => roster.step(id, event)),
    get: (id) => roster.get(id),
  },
  ledger: { holds: () => call(() => [...there.values()]) },
  blocks: { instance: (_block, id) => records.get(id) },
  crew: {
    end: async (_operation, [one]) => call(() => void there.delete(one?.instanceId ?? "")),
  },
  runner: {
    accept: async (request) => call(() => accept(request)),
    get: (id) => [...children.values()].find((one) => one.id === id),
    childrenOf: (id) => [...children.values()].filter(({ parentId }) => parentId === id),
  },
  retire: async (nodeId, operationId) => {
    call(() => retired.push(nodeId));
    await roster.step(nodeId, { kind: "retire", operationId });
  },
  clock: systemClock,
  lookEveryMs: 1,
});

function operation(input: object, isResumed = false): RunningOperation {
  const inputJson = JSON.stringify({ nodeId: "node-a", timeoutMs: 50, force: false, ...input });
  const signal = AbortSignal.timeout(10_000);
  return {
    id: OP,
    action: "remove-node",
    blockId: "node/node-a",
    inputJson,
    plan: {},
    isResumed,
    signal,
    isRemovalWaiting: () => isForcedWaiting,
    whyUnwanted: () => undefined,
    cancel: (id) => void cancelled.push(id),
    at: () => {},
  };
}
const drain = (input: object = {}) => drainNode(deps()).run(operation(input));
const stateOf = () => roster.get("node-a")?.state;

describe("drainNode", () => {
  it("moves everything by operations of its own, and forgets the node", async () => {
    runs("in-1");
    runs("in-2");
    expect(await drain()).toEqual({ node_id: "node-a", moved: 2, ended: 0 });
    expect([...children.keys()]).toEqual([`${OP}/move/in-1/1`, `${OP}/move/in-2/1`]);
    expect([...children.values()]).toMatchObject([
      { action: "reassign-instances", blockId: "b" },
      { action: "reassign-instances", blockId: "b" },
    ]);
    expect([stateOf(), retired]).toEqual(["removed", ["node-a"]]);
  });

  it("comes to the same end wherever the agent is killed, and asks for no move twice", async () => {
    for (let calls = 0; ; calls += 1) {
      children.clear();
      await roster.forget("node-a");
      await roster.step("node-a", { kind: "join" });
      runs("in-1");
      runs("in-2");
      // The agent is killed behind a move that was accepted and is not over.
      outcome = () => ({});
      callsLeft = calls;
      const isCut = await drain({ timeoutMs: 20 }).then(
        () => false,
        (thrown: unknown) => String(thrown).includes("killed"),
      );
      for (const [key, record] of children) {
        children.set(key, { ...record, ...moved(record as never) });
      }
      outcome = moved;
      callsLeft = Number.POSITIVE_INFINITY;
      expect(await drain()).toEqual({ node_id: "node-a", moved: 2, ended: 0 });
      expect(stateOf()).toBe("removed");
      expect([...children.keys()].sort()).toEqual([`${OP}/move/in-1/1`, `${OP}/move/in-2/1`]);
      if (!isCut) break;
      expect(calls).toBeLessThan(50);
    }
  });

  it("goes on with what it was ending when it was cut off, and asks for no move of that", async () => {
    runs("in-1");
    outcome = () => ({});
    const key = `${OP}/end/in-1/1`;
    const inputJson = JSON.stringify({ instanceIds: ["in-1"], force: true });
    const ending = accept({
      ...{ action: "remove_instance", blockId: "b", parentId: OP, plan: {} },
      ...{ inputJson, idempotencyKey: key },
    });
    const drained = drain({ force: true, timeoutMs: 5_000 });
    await expect.poll(stateOf).toBe("draining");
    there.delete("in-1");
    children.set(key, { ...ending, state: "done" });
    expect(await drained).toEqual({ node_id: "node-a", moved: 0, ended: 1 });
    expect([[...children.keys()], cancelled]).toEqual([[key], []]);
  });

  it("tries a move that failed again, by another operation", async () => {
    runs("in-1");
    let tries = 0;
    outcome = (request) => {
      tries += 1;
      return tries < 2 ? failed("no place")() : moved(request);
    };
    expect(await drain({ timeoutMs: 5_000 })).toMatchObject({ moved: 1 });
    expect([...children.keys()]).toEqual([`${OP}/move/in-1/1`, `${OP}/move/in-1/2`]);
  });

  it.each([
    ["cannot be moved", failed("no place for it"), "no place for it"],
    ["is being moved by a stuck operation", () => ({ state: "stuck" as const }), "is stuck: retry"],
    ["is still being moved", () => ({ step: "waiting" }), "operation child-0: waiting"],
  ])("gives up when its time is over, and names what %s", async (_what, does, why) => {
    runs("in-1");
    outcome = does;
    await expect(drain()).rejects.toMatchObject({
      reason: "DEADLINE_EXCEEDED",
      message: expect.stringContaining(`stays cordoned: b/in-1 (`),
      details: {
        instances: [{ block_id: "b", instance_id: "in-1", why: expect.stringContaining(why) }],
      },
    });
    await drainNode(deps()).undo(operation({}));
    expect([stateOf(), retired]).toEqual(["cordoned", []]);
  });

  it("waits for a block whose operations cannot be accepted now", async () => {
    runs("in-1");
    let refusals = 1;
    outcome = (request) => {
      refusals -= 1;
      if (refusals >= 0) throw new BerthError("CONFLICT", "operation x of block b is stuck");
      return moved(request);
    };
    expect(await drain({ timeoutMs: 5_000 })).toMatchObject({ moved: 1 });
  });

  it("ends by force what could not be moved, and what nobody has a record of", async () => {
    runs("in-1");
    runs("in-2", { isRecorded: false });
    outcome = (request) =>
      request.action === "remove_instance" ? moved(request) : failed("no place")();
    expect(await drain({ force: true })).toEqual({ node_id: "node-a", moved: 0, ended: 2 });
    expect([...children.values()].at(-1)).toMatchObject({
      action: "remove_instance",
      inputJson: JSON.stringify({ operation: "downscale", instanceIds: ["in-1"], force: true }),
    });
  });

  it("asks for one move of a block at a time, and calls it back before it ends instances", async () => {
    runs("in-1");
    runs("in-2");
    outcome = (request) => (request.action === "remove_instance" ? moved(request) : {});
    expect(await drain({ force: true })).toEqual({ node_id: "node-a", moved: 0, ended: 2 });
    expect([...children.keys()]).toEqual([
      ...[`${OP}/move/in-1/1`, `${OP}/end/in-1/1`, `${OP}/end/in-2/1`],
    ]);
    expect(cancelled).toEqual(["child-0"]);
    expect([...children.values()].every(({ parentId }) => parentId === OP)).toBe(true);
  });

  it("stops when its node is uncordoned, and does not begin again", async () => {
    runs("in-1");
    outcome = () => ({});
    const drained = drain({ timeoutMs: 60_000 });
    const refused = expect(drained).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringContaining("was uncordoned"),
    });
    await expect.poll(() => children.size).toBe(1);
    await roster.step("node-a", { kind: "uncordon" });
    await refused;
    await expect(drain()).rejects.toMatchObject({ reason: "CONFLICT" });
    await drainNode(deps()).undo(operation({}));
    expect([stateOf(), retired]).toEqual(["ready", []]);
  });

  it("makes way for a removal by force behind it, unless it is one itself", async () => {
    runs("in-1");
    isForcedWaiting = true;
    await expect(drain()).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringContaining("by force"),
    });
    expect(await drain({ force: true })).toMatchObject({ moved: 1 });
  });

  it("never touches what is in no record unless it is forced", async () => {
    runs("in-2", { isRecorded: false });
    await expect(drain()).rejects.toThrow("it is in no record, so nobody can move it");
    expect(there.size).toBe(1);
  });
});
