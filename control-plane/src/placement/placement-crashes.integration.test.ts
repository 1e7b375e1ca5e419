import type { DocumentStore } from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, describe, expect, it, vi } from "vitest";
import { anEntry, PlacementHarness } from "../testing/placement-harness.ts";

const TWO = { c1: { nodes: 2, gpus: 4 }, c2: { nodes: 2, gpus: 4 } };
const NEVER = new Promise<never>(() => {});

let harness: PlacementHarness;

afterEach(() => harness.close());

/** A store of a process that dies at its n-th write, before it or right behind it. */
function dying(at: number, when: "before" | "behind", died: () => void) {
  return (store: DocumentStore): DocumentStore => {
    let writes = 0;
    const apply: DocumentStore["apply"] = async (batch) => {
      writes += 1;
      if (writes > at) return NEVER;
      if (writes < at) return store.apply(batch);
      if (when === "behind") await store.apply(batch);
      died();
      return NEVER;
    };
    return withApply(store, apply);
  };
}

/** Two clusters, of which the better one takes the creation back, so that a placement goes all ways there are. */
function open() {
  harness = new PlacementHarness(TWO);
  const c1 = harness.fleet.get("c1");
  c1.score = 0.9;
  c1.fails = { reason: "POLICY_FAILED", message: "the policy raised" };
  return harness.fleet;
}

const ask = { block_data: anEntry("b", 2, 2), idempotency_key: "k" };

/** The client asks again, as it may not have been answered; then all is held against what must be. */
async function expectOneBlock(): Promise<void> {
  await harness.start();
  const placed = await harness.place(ask);
  expect(placed).toMatchObject({ phase: "done", cluster_id: "c2" });
  expect(harness.fleet.placesOf("b")).toEqual(["c2"]);
  expect(harness.fleet.get("c1").allocatedGpus).toBe(0);
  expect(harness.fleet.get("c2").allocatedGpus).toBe(4);
  expect(harness.placing.placements.list({ limit: 10 })).toHaveLength(1);
}

describe("a control-plane that dies", () => {
  it.each(
    Array.from({ length: 8 }, (_, index) => index + 1).flatMap((write) => [
      [write, "before"] as const,
      [write, "behind"] as const,
    ]),
  )(
    "at write %i of a placement, %s it, goes on with it: one block, on one cluster",
    async (write, when) => {
      open();
      const died = Promise.withResolvers<string>();
      await harness.start(dying(write, when, () => died.resolve("died")));
      void harness.place(ask).catch(() => undefined);
      expect(await died.promise).toBe("died");
      await expectOneBlock();
    },
  );

  it.each(
    Array.from({ length: 10 }, (_, index) => index + 1).flatMap((call) => [
      [call, "before"] as const,
      [call, "behind"] as const,
    ]),
  )(
    "at request %i to a cluster, %s it was carried out, goes on: one block, on one cluster",
    async (call, when) => {
      const fleet = open();
      await harness.start();
      const died = Promise.withResolvers<string>();
      let calls = 0;
      let isDead = false;
      fleet[when] = () => {
        calls += 1;
        isDead ||= calls >= call;
        if (!isDead) return;
        died.resolve("died");
        return NEVER;
      };
      void harness.place(ask).catch(() => undefined);
      expect(await died.promise).toBe("died");
      fleet[when] = () => {};
      await expectOneBlock();
    },
  );

  it("after its placement was stuck still shows it", async () => {
    harness = new PlacementHarness(TWO, { lostAfterMs: 50 });
    const { fleet } = harness;
    fleet.behind = (id, { bodyJson = "" }) => {
      if (!bodyJson.includes("create_block")) return;
      fleet.setLive(id, false);
      throw new Error("the answer is lost");
    };
    await harness.start();
    expect(await harness.place(ask)).toMatchObject({ phase: "stuck" });
    await harness.start();
    await vi.waitFor(() => expect(harness.placementOf("b")?.phase).toBe("stuck"));
  });
});
