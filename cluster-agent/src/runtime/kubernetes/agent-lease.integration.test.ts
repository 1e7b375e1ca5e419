import { silentLogger, systemClock } from "@berth/service-kit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hasKubernetes } from "../../../../test/support/kubernetes/binaries.ts";
import { until } from "../../testing/fixtures.ts";
import { KubernetesScene, SCENE_BLOCK } from "../../testing/kubernetes-scene.ts";
import { AgentLease } from "./agent-lease.ts";
import type { KubeClient } from "./kube-client.ts";

const never = new AbortController().signal;
/** Short enough for tests; the API counts whole seconds. */
const RULES = { durationMs: 3_000, renewLimitMs: 2_000, retryMs: 200 };

describe.skipIf(!hasKubernetes())("the lease of agents on a real Kubernetes API", () => {
  let scene: KubernetesScene;
  let namespace: string;
  let leases: AgentLease[] = [];
  beforeAll(async () => {
    scene = await KubernetesScene.start();
  });
  afterAll(async () => {
    await scene.stop();
  });
  beforeEach(async () => {
    namespace = await scene.namespace();
    leases = [];
  });
  afterEach(async () => {
    await Promise.all(leases.map((lease) => lease.stop()));
  });

  /** An agent's lease; `fenced` fills with what it is told. */
  const agent = async (holder: string) => {
    const client = await scene.client({ limitMs: 1_000 });
    const fenced: string[] = [];
    const lease = new AgentLease({
      ...{ client, namespace, holder, clock: systemClock, logger: silentLogger, rules: RULES },
      onFenced: (message) => fenced.push(message),
    });
    leases.push(lease);
    await lease.start();
    return { lease, client, fenced };
  };
  const active = (lease: AgentLease) => async () => lease.whyInactive() === undefined;
  /** Lets no request of a client through, as when its machine is cut off. */
  const cutOff = (client: KubeClient) => {
    const fail = () => Promise.reject(new Error("cut off"));
    Object.assign(client, { read: fail, replace: fail, create: fail });
  };

  it("is held by one agent, and by the next as soon as that one has left", async () => {
    const a = await agent("a");
    await until("a is active", active(a.lease));
    const b = await agent("b");
    await until("b knows why not", async () =>
      /active one.*: a$/.test(b.lease.whyInactive() ?? ""),
    );
    await a.lease.stop();
    const left = performance.now();
    await until("b is active", active(b.lease));
    expect(performance.now() - left).toBeLessThan(RULES.durationMs);
    expect(a.lease.whyInactive()).toBeDefined();
    expect([a.fenced, b.fenced]).toEqual([[], []]);
  });

  it("goes over when it is not renewed, not before its holder does nothing more, and fences that one", async () => {
    const a = await agent("a");
    await until("a is active", active(a.lease));
    const b = await agent("b");
    await until("b waits", async () => /: a$/.test(b.lease.whyInactive() ?? ""));
    const { read, replace, create } = a.client;
    const whole = { read, replace, create };
    cutOff(a.client);
    await until(
      "b is active",
      async () => {
        const isTaken = b.lease.whyInactive() === undefined;
        if (isTaken) expect(a.lease.whyInactive()).toBeDefined();
        return isTaken;
      },
      20_000,
    );
    Object.assign(a.client, whole);
    await until("a is fenced", async () => a.fenced.length === 1);
    expect(a.lease.whyInactive()).toMatch(/another agent has become the active one/);
    expect(b.lease.whyInactive()).toBeUndefined();
    expect(b.fenced).toEqual([]);
  });

  it("is held on by the same agent after a silence in which nobody took it", async () => {
    const a = await agent("a");
    await until("a is active", active(a.lease));
    scene.kubernetes.pause("apiserver");
    try {
      await until("a does nothing more", async () => a.lease.whyInactive() !== undefined);
    } finally {
      scene.kubernetes.resume("apiserver");
    }
    await until("a is active again", active(a.lease), 20_000);
    expect(a.fenced).toEqual([]);
  });

  it("keeps an agent that does not hold it from looking and from acting", async () => {
    const a = await agent("a");
    await until("a is active", active(a.lease));
    const b = await agent("b");
    const runtime = await scene.open(namespace, { whyInactive: () => b.lease.whyInactive() });
    await expect(runtime.observe(never)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    await expect(runtime.applyBlock(SCENE_BLOCK, never)).rejects.toThrow(/active/);
    await a.lease.stop();
    await until("b is active", active(b.lease));
    expect(await runtime.applyBlock(SCENE_BLOCK, never)).toEqual({ kind: "applied" });
    await scene.close(runtime);
  });
});
