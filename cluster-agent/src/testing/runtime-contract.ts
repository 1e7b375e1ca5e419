import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  ApplyOutcome,
  BlockSpec,
  InstanceSpec,
  ObservedInstance,
  Ownership,
  Runtime,
} from "../runtime/runtime.ts";
import { specDigest } from "../runtime/spec-digest.ts";
import { until } from "./fixtures.ts";

/** A runtime as a test has it. */
export interface OpenRuntime {
  readonly runtime: Runtime;
  /** Ends this object as the end of the agent would; what runs goes on. */
  close(): Promise<void>;
}

/** How the contract suite reaches a runtime. */
export interface RuntimeHarness {
  /** A node that instances can run on. */
  readonly nodeId: string;
  /** A program that runs until it is ended and answers its health check. */
  readonly program: Pick<InstanceSpec, "image" | "command" | "env">;
  /** A program that this runtime can never run. */
  readonly refused: Pick<InstanceSpec, "image" | "command">;
  /** The runtime of the harness, over what earlier ones left, as after a start of the agent. The one before is closed. */
  open(): Promise<OpenRuntime>;
  /** A runtime of another agent beside the first, on the same machine or Kubernetes. */
  openOther(): Promise<OpenRuntime>;
  /** Pods or processes that exist of an instance, as others than the runtime see them; ended ones are left out. */
  living(id: Pick<InstanceSpec, "blockId" | "instanceId">): Promise<number>;
  /** Kills the program of an instance, as a fault of its own would. */
  kill(instance: ObservedInstance): Promise<void>;
  /** Removes what the harness made; every runtime is closed by then. */
  dispose(): Promise<void>;
}

/** What a suite is for. */
export interface RuntimeContract {
  readonly name: string;
  readonly make: () => RuntimeHarness | Promise<RuntimeHarness>;
  /** Longest wait for an instance to become ready, or to be gone, in ms. */
  readonly limitMs?: number;
}

const never = new AbortController().signal;
const OWNERSHIP: Ownership = {
  operationId: "op-1",
  fence: { storeId: "store-1", controllerTerm: "7" },
};
const APPLIED: ApplyOutcome = { kind: "applied" };

/** What the tests of one suite share; new for each. */
interface Scene {
  readonly harness: RuntimeHarness;
  readonly limitMs: number;
  runtime: Runtime;
  reopen(): Promise<void>;
}

/** The behaviour that every {@link Runtime} has; call it in the runtime's test file. */
export function runtimeContract({ name, make, limitMs = 30_000 }: RuntimeContract): void {
  describe(`${name} as a runtime`, () => {
    let harness: RuntimeHarness;
    let open: OpenRuntime;
    let scene: Scene;
    beforeEach(async () => {
      harness = await make();
      open = await harness.open();
      const reopen = async (): Promise<void> => {
        await open.close();
        open = await harness.open();
        scene.runtime = open.runtime;
      };
      scene = { harness, limitMs, runtime: open.runtime, reopen };
    });
    afterEach(async () => {
      for (const id of (await open.runtime.observe(never)).blockIds) {
        await open.runtime.removeBlock(id, never);
      }
      await open.close();
      await harness.dispose();
    });
    const current = () => scene;
    applyTests(current);
    removeTests(current);
    refusalTests(current);
    agentTests(current);
    signalTests(current);
  });
}

function applyTests(scene: () => Scene): void {
  it("has nothing at first", async () => {
    expect(await scene().runtime.observe(never)).toEqual({ blockIds: [], instances: [] });
  });

  it("runs an instance, and tells all of it", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    const instance = await ready(scene(), "in-a");
    const { podName, endpoints, ...rest } = instance;
    expect(rest).toEqual({
      blockId: "blk-a",
      instanceId: "in-a",
      nodeId: scene().harness.nodeId,
      allocationId: "alloc-in-a",
      deviceUuids: ["GPU-1", "MIG-2"],
      sharesMiB: { "GPU-1": 1_000 },
      cpuMillis: 1_500,
      memoryMiB: 256,
      storageMiB: 32,
      ownership: OWNERSHIP,
      specDigest: specDigest(spec),
      phase: "running",
      isReady: true,
      restarts: 0,
    });
    expect(podName).toMatch(/./);
    const health = await fetch(`${endpoints.control}/health`);
    expect(health.status).toBe(200);
    expect((await scene().runtime.observe(never)).blockIds).toEqual(["blk-a"]);
    expect(await scene().harness.living(spec)).toBe(1);
  });

  it("does nothing when the same is applied again", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    const before = await ready(scene(), "in-a");
    expect(await scene().runtime.applyBlock(block("blk-a"), never)).toEqual(APPLIED);
    const reordered = { ...Object.fromEntries(Object.entries(spec).reverse()), ...spec };
    expect(await scene().runtime.applyInstance(reordered, never)).toEqual(APPLIED);
    expect(await found(scene(), "in-a")).toEqual(before);
  });

  it("takes over who ordered an instance, and does not start it again", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    const before = await ready(scene(), "in-a");
    const ownership = { operationId: "op-2", fence: { storeId: "store-1", controllerTerm: "8" } };
    await scene().runtime.applyInstance({ ...spec, ownership }, never);
    expect(await found(scene(), "in-a")).toEqual({ ...before, ownership });
  });

  it("replaces an instance whose spec is another, and nothing is left of the former one", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    const before = await ready(scene(), "in-a");
    const next = { ...spec, env: { ...spec.env, OTHER: "1" }, devices: [] };
    expect(await scene().runtime.applyInstance(next, never)).toEqual(APPLIED);
    const after = await ready(scene(), "in-a");
    expect(after).toMatchObject({ specDigest: specDigest(next), deviceUuids: [], restarts: 0 });
    expect(after.podName).not.toBe(before.podName);
    expect(await scene().harness.living(spec)).toBe(1);
  });

  it("starts a program that ended again, and counts it", async () => {
    await applied(scene(), { instanceId: "in-a" });
    const before = await ready(scene(), "in-a");
    await scene().harness.kill(before);
    await eventually(scene(), "it runs again", async () => {
      const after = await found(scene(), "in-a");
      return after?.isReady === true && after.restarts === 1;
    });
  });
}

function removeTests(scene: () => Scene): void {
  it("removes an instance, and resolves when nothing runs of it", async () => {
    const a = await applied(scene(), { instanceId: "in-a" });
    const b = await applied(scene(), { instanceId: "in-b" });
    await ready(scene(), "in-a");
    await ready(scene(), "in-b");
    await scene().runtime.removeInstance(a, never);
    expect(await scene().harness.living(a)).toBe(0);
    expect(await scene().harness.living(b)).toBe(1);
    const { blockIds, instances } = await scene().runtime.observe(never);
    expect(blockIds).toEqual(["blk-a"]);
    expect(instances.map(({ instanceId }) => instanceId)).toEqual(["in-b"]);
  });

  it("takes what is not there for removed", async () => {
    await scene().runtime.removeInstance({ blockId: "blk-x", instanceId: "in-x" }, never);
    await scene().runtime.removeBlock("blk-x", never);
    const spec = await applied(scene(), { instanceId: "in-a" });
    await Promise.all([
      scene().runtime.removeInstance(spec, never),
      scene().runtime.removeInstance(spec, never),
    ]);
    await scene().runtime.removeInstance(spec, never);
    expect((await scene().runtime.observe(never)).instances).toEqual([]);
  });

  it("removes a block with all its instances, and no other", async () => {
    const a = await applied(scene(), { instanceId: "in-a" });
    const b = await applied(scene(), { instanceId: "in-b" });
    const c = await applied(scene(), { instanceId: "in-c", blockId: "blk-b" });
    await ready(scene(), "in-a");
    await scene().runtime.removeBlock("blk-a", never);
    expect(await scene().harness.living(a)).toBe(0);
    expect(await scene().harness.living(b)).toBe(0);
    const { blockIds, instances } = await scene().runtime.observe(never);
    expect(blockIds).toEqual(["blk-b"]);
    expect(instances.map(({ instanceId }) => instanceId)).toEqual([c.instanceId]);
  });

  it("runs an instance again under the id of a removed one", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    const before = await ready(scene(), "in-a");
    const removed = scene().runtime.removeInstance(spec, never);
    expect(await scene().runtime.applyInstance(spec, never)).toEqual(APPLIED);
    await removed;
    const after = await ready(scene(), "in-a");
    expect(after.podName).not.toBe(before.podName);
    expect(after.restarts).toBe(0);
    expect(await scene().harness.living(spec)).toBe(1);
  });
}

function refusalTests(scene: () => Scene): void {
  it("refuses a program that it can never run, before and when it is applied, and keeps nothing", async () => {
    const { runtime, harness } = scene();
    expect(runtime.refusal(harness.program)).toBeUndefined();
    const message = runtime.refusal(harness.refused);
    expect(message).toMatch(/component/);
    await runtime.applyBlock(block("blk-a"), never);
    const spec = { ...instance(scene(), { instanceId: "in-a" }), ...harness.refused };
    const outcome = await runtime.applyInstance(spec, never);
    expect(outcome).toMatchObject({ kind: "refused", message });
    expect((await runtime.observe(never)).instances).toEqual([]);
    expect(await harness.living(spec)).toBe(0);
  });

  it("refuses an instance whose block has no root", async () => {
    const outcome = await scene().runtime.applyInstance(
      instance(scene(), { instanceId: "in-a" }),
      never,
    );
    expect(outcome).toMatchObject({ kind: "refused", reason: "PRECONDITION_FAILED" });
    expect(await scene().runtime.observe(never)).toEqual({ blockIds: [], instances: [] });
  });
}

function agentTests(scene: () => Scene): void {
  it("keeps instances running over the end of the agent, and finds them as they were", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    const { isReady: _now, ...before } = await ready(scene(), "in-a");
    await scene().reopen();
    const after = await found(scene(), "in-a");
    expect(after).toMatchObject(before);
    await ready(scene(), "in-a");
    expect(await scene().harness.living(spec)).toBe(1);
  });

  it("remembers over the end of the agent how often an instance was started again", async () => {
    await applied(scene(), { instanceId: "in-a" });
    await scene().harness.kill(await ready(scene(), "in-a"));
    await eventually(scene(), "it runs again", async () => {
      const after = await found(scene(), "in-a");
      return after?.isReady === true && after.restarts === 1;
    });
    const { podName } = await ready(scene(), "in-a");
    await scene().reopen();
    expect(await found(scene(), "in-a")).toMatchObject({ restarts: 1, podName, phase: "running" });
  });

  it("remembers what is removed over the end of the agent", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    await ready(scene(), "in-a");
    await scene().runtime.removeInstance(spec, never);
    await scene().reopen();
    expect(await scene().runtime.observe(never)).toEqual({ blockIds: ["blk-a"], instances: [] });
  });

  it("neither sees nor removes what another agent runs", async () => {
    const other = await scene().harness.openOther();
    try {
      const spec = await applied(scene(), { instanceId: "in-a" });
      const before = await ready(scene(), "in-a");
      expect(await other.runtime.observe(never)).toEqual({ blockIds: [], instances: [] });
      await other.runtime.removeInstance(spec, never);
      await other.runtime.removeBlock("blk-a", never);
      expect(await found(scene(), "in-a")).toEqual(before);
      expect(await scene().harness.living(spec)).toBe(1);
    } finally {
      await other.close();
    }
  });

  it("tells of changes until it is told not to", async () => {
    let calls = 0;
    const end = scene().runtime.onChange(() => {
      calls += 1;
    });
    const spec = await applied(scene(), { instanceId: "in-a" });
    await eventually(scene(), "a change is told and the instance is ready then", async () => {
      const seen = calls;
      return seen > 0 && (await found(scene(), "in-a"))?.isReady === true;
    });
    const before = calls;
    await scene().runtime.removeInstance(spec, never);
    await eventually(scene(), "the removal is told", async () => calls > before);
    end();
    const last = calls;
    await scene().runtime.applyBlock(block("blk-b"), never);
    await scene().runtime.removeBlock("blk-b", never);
    expect(calls).toBe(last);
  });
}

function signalTests(scene: () => Scene): void {
  it("rejects with the reason of a signal that is aborted, and does nothing", async () => {
    const why = new Error("enough");
    const aborted = AbortSignal.abort(why);
    const { runtime } = scene();
    const spec = instance(scene(), { instanceId: "in-a" });
    for (const call of [
      () => runtime.applyBlock(block("blk-a"), aborted),
      () => runtime.applyInstance(spec, aborted),
      () => runtime.removeInstance(spec, aborted),
      () => runtime.removeBlock("blk-a", aborted),
      () => runtime.observe(aborted),
    ]) {
      await expect(call()).rejects.toBe(why);
    }
    expect(await runtime.observe(never)).toEqual({ blockIds: [], instances: [] });
  });

  it("lets a removal be asked for again that nobody waited for to the end", async () => {
    const spec = await applied(scene(), { instanceId: "in-a" });
    await ready(scene(), "in-a");
    const enough = new AbortController();
    const removal = scene().runtime.removeInstance(spec, enough.signal);
    enough.abort(new Error("enough"));
    await expect(removal).rejects.toThrow("enough");
    await scene().runtime.removeInstance(spec, never);
    expect(await scene().harness.living(spec)).toBe(0);
  });
}

function block(blockId: string): BlockSpec {
  return { blockId, ownership: OWNERSHIP };
}

function instance(
  { harness }: Scene,
  { instanceId, blockId = "blk-a" }: { instanceId: string; blockId?: string },
): InstanceSpec {
  return {
    blockId,
    instanceId,
    nodeId: harness.nodeId,
    ...harness.program,
    initDataJson: '{"weights":"w"}',
    devices: [
      { uuid: "GPU-1", slot: 0, memoryMiB: 1_000, isShared: true },
      { uuid: "MIG-2", slot: 1, memoryMiB: 500 },
    ],
    cpuMillis: 1_500,
    memoryMiB: 256,
    storageMiB: 32,
    allocationId: `alloc-${instanceId}`,
    ownership: OWNERSHIP,
  };
}

/** Applies an instance with its block. */
async function applied(
  scene: Scene,
  ids: { instanceId: string; blockId?: string },
): Promise<InstanceSpec> {
  const spec = instance(scene, ids);
  expect(await scene.runtime.applyBlock(block(spec.blockId), never)).toEqual(APPLIED);
  expect(await scene.runtime.applyInstance(spec, never)).toEqual(APPLIED);
  return spec;
}

async function found(scene: Scene, instanceId: string): Promise<ObservedInstance | undefined> {
  const { instances } = await scene.runtime.observe(never);
  return instances.find((observed) => observed.instanceId === instanceId);
}

/** The instance once its health check answers. */
async function ready(scene: Scene, instanceId: string): Promise<ObservedInstance> {
  let last: ObservedInstance | undefined;
  await eventually(scene, `${instanceId} is ready`, async () => {
    last = await found(scene, instanceId);
    return last?.isReady === true;
  });
  if (last === undefined) throw new Error(`${instanceId} is not there`);
  return last;
}

async function eventually(
  { limitMs }: Scene,
  what: string,
  isSo: () => Promise<boolean>,
): Promise<void> {
  await until(what, isSo, limitMs);
}
