import { afterEach, describe, expect, it, vi } from "vitest";
import { anEntry, PlacementHarness } from "../testing/placement-harness.ts";

const TWO = { c1: { nodes: 2, gpus: 4 }, c2: { nodes: 2, gpus: 4 } };
const WAIT = { timeout: 5_000, interval: 5 };

let harness: PlacementHarness;

afterEach(() => harness.close());

async function open(
  clusters: Readonly<Record<string, { nodes: number; gpus: number }>> = TWO,
  options: { lostAfterMs?: number } = {},
) {
  harness = new PlacementHarness(clusters, options);
  await harness.start();
  return harness.fleet;
}

/** Leases are given back beside what comes next. */
const noLeases = () =>
  vi.waitFor(() => {
    for (const cluster of harness.fleet.clusters.values()) expect(cluster.heldLeases).toBe(0);
  }, WAIT);

describe("POST /blocks", () => {
  it("makes a block on the cluster with the highest score, on what was leased there for each instance", async () => {
    const fleet = await open();
    fleet.get("c2").score = 0.9;
    const placed = await harness.place(anEntry("b", 2, 2));
    expect(placed).toMatchObject({ phase: "done", cluster_id: "c2", score: 0.9, tried: [] });
    expect(fleet.placesOf("b")).toEqual(["c2"]);
    expect(fleet.get("c2").allocatedGpus).toBe(4);
    expect(fleet.log.filter((one) => one === "c2 POST /leases")).toHaveLength(2);
    expect(fleet.log).not.toContain("c1 POST /leases");
    await noLeases();
    await vi.waitFor(() => {
      expect(harness.decisions).toEqual([
        expect.objectContaining({
          decision_id: placed.decision_id,
          outcome: "placed",
          policy_rule_uri: "built-in:highest-score",
          data: expect.objectContaining({ cluster_id: "c2", block_id: "b" }),
        }),
      ]);
    }, WAIT);
  });

  it("asks no cluster that cannot have room, and only those that were selected", async () => {
    const fleet = await open({ ...TWO, small: { nodes: 8, gpus: 1 }, c3: { nodes: 1, gpus: 8 } });
    fleet.setLive("c3", false);
    fleet.get("c2").isClosed = true;
    fleet.get("c2").touch();
    const placed = await harness.place(anEntry("b", 2));
    expect(placed).toMatchObject({ phase: "done", cluster_id: "c1" });
    expect(placed.tried).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ cluster_id: "small", step: "view", reason: "UNSCHEDULABLE" }),
        expect.objectContaining({ cluster_id: "c3", step: "view", reason: "UNAVAILABLE" }),
        expect.objectContaining({ cluster_id: "c2", message: expect.stringContaining("closed") }),
      ]),
    );
    expect(new Set(fleet.log.map((one) => one.split(" ")[0]))).toEqual(new Set(["c1"]));
    const named = await harness.place({ block_data: anEntry("other", 1), clusters: ["small"] });
    expect(named).toMatchObject({ phase: "done", cluster_id: "small" });
  });

  it("asks the emptiest top_k first, and the next ones when none of them can", async () => {
    const fleet = await open({
      a: { nodes: 1, gpus: 8 },
      b: { nodes: 1, gpus: 6 },
      c: { nodes: 1, gpus: 2 },
    });
    for (const id of ["a", "b"]) fleet.get(id).score = 0;
    expect(await harness.place({ block_data: anEntry("x"), top_k: 2 })).toMatchObject({
      cluster_id: "c",
      tried: [
        { cluster_id: "a", step: "dry_run", reason: "UNSCHEDULABLE" },
        { cluster_id: "b", step: "dry_run", reason: "UNSCHEDULABLE" },
      ],
    });
    expect(await harness.place({ block_data: anEntry("y"), top_k: 1 })).toMatchObject({
      cluster_id: "c",
    });
  });

  it("takes the next best cluster when the best one denies the block, and tells each reason when none takes it", async () => {
    const fleet = await open();
    fleet.get("c1").score = 0.9;
    fleet.get("c1").denies = { reason: "PRECHECK_DENIED", message: "not on a Friday" };
    expect(await harness.place(anEntry("b"))).toMatchObject({
      cluster_id: "c2",
      tried: [
        { cluster_id: "c1", step: "create", reason: "PRECHECK_DENIED", message: "not on a Friday" },
      ],
    });
    fleet.get("c2").denies = { reason: "PRECHECK_DENIED", message: "not for you" };
    const failed = await harness.place(anEntry("other"));
    expect(failed).toMatchObject({
      phase: "failed",
      error: {
        reason: "UNSCHEDULABLE",
        message: 'no cluster can take block "other": c1: not on a Friday; c2: not for you',
      },
    });
    await noLeases();
  });

  it("takes the next best cluster when the best one takes the creation back", async () => {
    const fleet = await open();
    fleet.get("c1").score = 0.9;
    fleet.get("c1").fails = { reason: "POLICY_FAILED", message: "the policy raised" };
    expect(await harness.place(anEntry("b"))).toMatchObject({
      cluster_id: "c2",
      tried: [{ cluster_id: "c1", step: "run", reason: "POLICY_FAILED" }],
    });
    await noLeases();
  });

  it("ends at once for an entry that is not valid, and for a block that is there", async () => {
    const fleet = await open();
    expect(await harness.place(anEntry("not valid"))).toMatchObject({
      phase: "failed",
      error: { reason: "INVALID_ARGUMENT", message: "id: expected a label" },
    });
    await harness.place(anEntry("b"));
    await expect(harness.place(anEntry("b"))).rejects.toMatchObject({
      reason: "ALREADY_EXISTS",
      message: expect.stringMatching(/^block "b" is on cluster c/),
    });
    expect(fleet.placesOf("b")).toHaveLength(1);
  });

  it("is not held up by a cluster that does not answer", async () => {
    const fleet = await open();
    fleet.get("c1").score = 0.9;
    fleet.before = (id) => (id === "c1" ? new Promise<void>(() => {}) : undefined);
    const begunAtMs = performance.now();
    expect(await harness.place(anEntry("b"))).toMatchObject({
      cluster_id: "c2",
      tried: [{ cluster_id: "c1", step: "dry_run", reason: "DEADLINE_EXCEEDED" }],
    });
    expect(performance.now() - begunAtMs).toBeLessThan(4_000);
  });

  it("answers at once without wait, and knows the same request again by its key", async () => {
    const fleet = await open();
    fleet.get("c1").workMs = 200;
    const ask = { block_data: anEntry("b"), clusters: ["c1"], idempotency_key: "k" };
    const first = await harness.place({ ...ask, wait: false });
    expect(first.phase).not.toBe("done");
    await expect(harness.place(anEntry("b"))).rejects.toMatchObject({
      reason: "CONFLICT",
      details: { placement_id: first.placement_id },
    });
    const reordered = { idempotency_key: "k", clusters: ["c1"], block_data: anEntry("b") };
    const again = await harness.place(reordered);
    expect(again).toMatchObject({ placement_id: first.placement_id, phase: "done" });
    await expect(harness.place({ ...ask, top_k: 1 })).rejects.toMatchObject({
      reason: "ALREADY_EXISTS",
    });
    expect(fleet.placesOf("b")).toEqual(["c1"]);
  });

  it("goes on when its client has gone", async () => {
    const fleet = await open();
    const gone = AbortSignal.abort();
    await harness.place(anEntry("b"), gone);
    await vi.waitFor(() => expect(harness.placementOf("b")?.phase).toBe("done"), WAIT);
    expect(fleet.placesOf("b")).toHaveLength(1);
  });

  it("gives no GPU twice and leaves no lease behind, whatever 48 callers ask for 32 GPUs", async () => {
    const fleet = await open({ ...TWO, c3: { nodes: 4, gpus: 4 } });
    const asked = Array.from({ length: 48 }, (_, index) => harness.place(anEntry(`b-${index}`)));
    const placed = await Promise.all(asked);
    const done = placed.filter(({ phase }) => phase === "done");
    const failed = placed.filter(({ phase }) => phase === "failed");
    expect([done.length, failed.length]).toEqual([32, 16]);
    for (const { error } of failed) expect(error).toMatchObject({ reason: "UNSCHEDULABLE" });
    const clusters = [...fleet.clusters.values()];
    expect(clusters.reduce((sum, one) => sum + one.allocatedGpus, 0)).toBe(32);
    await noLeases();
  }, 30_000);
});

describe("a control-plane that was just started", () => {
  it("waits for its agents to come back before it says that nobody takes a block", async () => {
    const fleet = await open();
    for (const id of fleet.clusters.keys()) fleet.setLive(id, false);
    const begun = await harness.place({ block_data: anEntry("b"), timeout_ms: 50 });
    expect(begun).toMatchObject({ phase: "choosing", tried: [] });
    fleet.setLive("c2", true);
    await vi.waitFor(() => expect(harness.placementOf("b")?.phase).toBe("done"), WAIT);
    expect(harness.placementOf("b")).not.toHaveProperty("waitsFor");
    expect(fleet.placesOf("b")).toEqual(["c2"]);
  });

  it("waits for those that it knew, also when the first one to come back is full", async () => {
    harness = new PlacementHarness({ ...TWO, c1: { nodes: 1, gpus: 1 } });
    const { fleet } = harness;
    let writing: Promise<unknown> | undefined;
    await harness.start((store) => {
      const key = { orgId: "default_org", collection: "cluster_bindings", id: "c2" };
      const body = { identity: "c2", incarnation: "1", instanceId: "i" };
      writing = store.apply([{ kind: "insert", key, body }]);
      return store;
    });
    await writing;
    await harness.start();
    const c2 = fleet.get("c2");
    fleet.clusters.delete("c2");
    const begun = await harness.place({ block_data: anEntry("b", 2), timeout_ms: 600 });
    expect(begun).toMatchObject({ phase: "choosing", round: 0 });
    expect(begun.waits_for).toMatch(/^the clusters to come back/);
    fleet.clusters.set("c2", c2);
    await vi.waitFor(() => expect(harness.placementOf("b")?.phase).toBe("done"), WAIT);
    expect(fleet.placesOf("b")).toEqual(["c2"]);
  });

  it("says at once that an entry is not valid, whoever is away", async () => {
    const fleet = await open();
    fleet.setLive("c2", false);
    expect(await harness.place(anEntry("not valid"))).toMatchObject({
      phase: "failed",
      error: { reason: "INVALID_ARGUMENT" },
    });
  });
});

describe("placements that wait", () => {
  const slow = (id: string) => ({ ...anEntry(id), policies: { resourceAllocator: "slow:1-t" } });

  it("hold nobody up whose block has no policy", async () => {
    const fleet = await open();
    fleet.before = (_id, { bodyJson = "" }) =>
      bodyJson.includes("slow:1-t") ? new Promise<void>(() => {}) : undefined;
    for (let place = 0; place < 20; place += 1) {
      await harness.place({ block_data: slow(`slow-${place}`), wait: false });
    }
    expect(await harness.place(anEntry("quick"))).toMatchObject({ phase: "done" });
  });

  it("are no larger than a cluster takes, and not too large together", async () => {
    const fleet = await open();
    fleet.before = () => new Promise<void>(() => {});
    const large = (id: string, characters: number) => ({
      ...{ wait: false, inputs: "x".repeat(characters), block_data: anEntry(id) },
    });
    const entry = { ...anEntry("b"), note: "x".repeat(1024 * 1024) };
    await expect(harness.place({ block_data: entry, wait: false })).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      message: expect.stringMatching(/^block_data: expected at most 1048576 characters/),
    });
    await expect(harness.place(large("b", 2 * 1024 * 1024))).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
    });
    const most = 2 * 1024 * 1024 - 1_000;
    for (let place = 0; place < 16; place += 1) await harness.place(large(`b${place}`, most));
    await expect(harness.place(large("one-more", most))).rejects.toMatchObject({
      reason: "OVERLOADED",
    });
    expect(await harness.place({ block_data: anEntry("small"), wait: false })).toMatchObject({
      phase: "choosing",
    });
  });
});

describe("a cluster that is cut off", () => {
  const isCreate = ({ bodyJson = "" }: { bodyJson?: string }) => bodyJson.includes("create_block");

  it("before the creation was sent is passed over", async () => {
    const fleet = await open();
    fleet.get("c1").score = 0.9;
    fleet.before = (id, { path }) => {
      if (id === "c1" && path === "/leases") fleet.setLive("c1", false);
    };
    expect(await harness.place(anEntry("b"))).toMatchObject({
      cluster_id: "c2",
      tried: [{ cluster_id: "c1", step: "lease", reason: "DEADLINE_EXCEEDED" }],
    });
  });

  it("as it makes the block is waited for, visibly, and no other one makes it meanwhile", async () => {
    const fleet = await open();
    fleet.get("c1").score = 0.9;
    fleet.behind = (id, request) => {
      if (id === "c1" && isCreate(request)) fleet.setLive("c1", false);
      if (!fleet.get(id).isLive) throw new Error("the answer is lost");
    };
    const begun = await harness.place({ block_data: anEntry("b"), timeout_ms: 300 });
    expect(begun).toMatchObject({ phase: "creating", cluster_id: "c1" });
    expect(begun.waits_for).toMatch(/^cluster c1 did not say whether it makes the block/);
    expect(fleet.placesOf("b")).toEqual(["c1"]);
    fleet.behind = () => {};
    fleet.setLive("c1", true);
    await vi.waitFor(() => expect(harness.placementOf("b")?.phase).toBe("done"), WAIT);
    expect(fleet.placesOf("b")).toEqual(["c1"]);
  });

  it("and refuses the creation when it is back is passed over only when it knows of no earlier one", async () => {
    const fleet = await open();
    const c1 = fleet.get("c1");
    c1.score = 0.9;
    let creations = 0;
    fleet.before = (id, request) => {
      if (id !== "c1" || !isCreate(request)) return;
      creations += 1;
      if (creations === 1) throw new Error("nobody knows whether this was carried out");
      c1.denies = { reason: "PRECHECK_DENIED", message: "not any more" };
    };
    expect(await harness.place(anEntry("b"))).toMatchObject({
      phase: "done",
      cluster_id: "c2",
      tried: [{ cluster_id: "c1", step: "create", reason: "PRECHECK_DENIED" }],
    });
    expect(fleet.placesOf("b")).toEqual(["c2"]);
    expect(fleet.log.some((one) => one.startsWith("c1 GET /operations?block_id=b"))).toBe(true);
  });

  it("for too long leaves the placement stuck, until an operator retries or abandons it", async () => {
    const fleet = await open(TWO, { lostAfterMs: 200 });
    fleet.get("c1").score = 0.9;
    const cut = (blockId: string) => {
      fleet.behind = (id, request) => {
        if (!request.bodyJson?.includes(blockId) || !isCreate(request)) return;
        fleet.setLive(id, false);
        throw new Error("the answer is lost");
      };
    };
    cut("retried");
    expect(await harness.place(anEntry("retried"))).toMatchObject({
      phase: "stuck",
      cluster_id: "c1",
    });
    await expect(harness.place(anEntry("retried"))).rejects.toMatchObject({ reason: "CONFLICT" });
    const { placements } = await harness.start();
    const [stuck] = placements.list({ phase: "stuck", limit: 10 });
    fleet.behind = () => {};
    fleet.setLive("c1", true);
    await placements.retry(stuck?.id ?? "");
    await vi.waitFor(() => expect(harness.placementOf("retried")?.phase).toBe("done"), WAIT);
    cut("given-up");
    const given = await harness.place(anEntry("given-up"));
    expect(given).toMatchObject({ phase: "stuck", cluster_id: "c1" });
    expect(placements.get(String(given.placement_id)).phase).toBe("stuck");
    await placements.abandon(String(given.placement_id));
    expect(harness.placementOf("given-up")?.phase).toBe("abandoned");
    await expect(placements.retry(String(given.placement_id))).rejects.toMatchObject({
      reason: "PRECONDITION_FAILED",
    });
  });
});
