import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { previewQuota } from "../../org/charges/preview.ts";
import { HeardScaling } from "../../testing/heard-scaling.ts";
import type { TestScaling } from "../../testing/scaling-fixture.ts";

let org: HeardScaling;
let scaling: TestScaling;

beforeEach(async () => {
  org = new HeardScaling();
  await org.listen();
});
afterEach(() => org.close());

const quota = (quotaId: string) => scaling.books.quotas.get(quotaId).quota;

describe("a request to scale", () => {
  it("is confirmed on the seed's subject, and then the quota and its subject know", async () => {
    scaling = await org.open();
    await scaling.books.quotas.create({
      subject_id: "subject-xyz",
      quota_id: "q",
      replica_count: 1,
    });
    const request = await scaling.scaled("subject-xyz", 3);
    const response = { status: "allocated", replicas: 3 };
    expect(request).toMatchObject({ state: "confirmed", generation: 1, before: 1, response });
    expect(quota("q").replicas).toBe(3);
    const { uuid } = request;
    await vi.waitFor(() => expect(org.heard).toHaveLength(2));
    expect(org.heard).toEqual([
      { subject: "default_org__alloc_response", body: { uuid, response } },
      {
        subject: "berth.default_org.subject.subject-xyz.allocation",
        body: expect.objectContaining({ uuid, state: "confirmed", subject_id: "subject-xyz" }),
      },
    ]);
    expect(await scaling.scaled("subject-xyz", 0)).toMatchObject({ generation: 2, before: 3 });
    expect(scaling.scale.all().map(({ generation }) => generation)).toEqual([2, 1]);
  });

  it("is refused by its field and its bounds, and writes nothing", async () => {
    scaling = await org.open();
    const create = (body: object) => scaling.books.quotas.create({ ...body });
    await create({ subject_id: "s", quota_id: "q", min_replicas: 1, max_replicas: 4 });
    await create({ subject_id: "two", quota_id: "a" });
    await create({ subject_id: "two", quota_id: "b" });
    const refused = async (asking: Promise<unknown>) =>
      asking.then(
        () => "taken",
        (error) => `${error.reason} ${error.message}`,
      );
    expect(await refused(scaling.ask("nobody", 1))).toBe(
      'NOT_FOUND subject_id: subject "nobody" has no quota',
    );
    expect(await refused(scaling.ask("two", 1))).toMatch(
      /^INVALID_ARGUMENT quota_id: subject "two" has several quotas, expected one of a, b$/,
    );
    expect(await refused(scaling.ask("two", 1, { quotaId: "q" }))).toMatch(/no quota of subject/);
    expect(await refused(scaling.ask("s", 5))).toBe(
      'PRECONDITION_FAILED replica_count: quota "q" has from 1 to 4 replicas, 5 were asked for',
    );
    expect(await refused(scaling.ask("s", 0))).toMatch(/from 1 to 4 replicas, 0 were/);
    expect(scaling.scale.all()).toEqual([]);
    expect(await scaling.scaled("s", 4)).toMatchObject({ state: "confirmed" });
  });

  it("charges its quota before it is sent, and what was confirmed in the end", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    const { quotas, charges } = scaling.books;
    await quotas.create({ quota_id: "team", nominal: { H100: 8 } });
    const allocation_info = { gpus_per_replica: { H100: 2 } };
    await quotas.create({ quota_id: "q", subject_id: "s", parent_id: "team", allocation_info });
    const request = await scaling.ask("s", 3);
    expect(charges.usedBy("team")).toEqual({ H100: 6_000 });
    const tooMuch = scaling.ask("s", 5);
    await expect(tooMuch).rejects.toMatchObject({
      reason: "QUOTA_EXCEEDED",
      message:
        'quota "team" has a nominal of 8 GPUs of H100, others use 0 GPUs, and 10 GPUs were asked for: 8 GPUs would fit',
      details: { obstacle: { quota_id: "team", fits_gpus: 8 } },
    });
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.state).toBe("dispatched"));
    await org.confirm(request.uuid, { status: "allocated", replicas: 2 });
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.state).toBe("partial"));
    expect(charges.usedBy("team")).toEqual({ H100: 4_000 });
    expect(quota("q").replicas).toBe(2);
    const down = await scaling.ask("s", 0);
    expect(charges.usedBy("team")).toEqual({ H100: 4_000 });
    await vi.waitFor(() => expect(scaling.scale.get(down.uuid)?.state).toBe("dispatched"));
    await org.confirm(down.uuid, { status: "allocated", replicas: 0 });
    await vi.waitFor(() => expect(charges.usedBy("team")).toEqual({}));
    await quotas.remove("q");
  });

  it("keeps its quota from being removed until it is over", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    const { quotas } = scaling.books;
    await quotas.create({ quota_id: "q", subject_id: "s" });
    const { uuid } = await scaling.ask("s", 2);
    await expect(quotas.remove("q")).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringContaining(`has a request under way: ${uuid} is `),
    });
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
    await org.confirm(uuid, { status: "allocated", replicas: "many" });
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("failed"));
    expect(scaling.scale.get(uuid)?.response?.message).toContain("response.replicas: expected");
    await quotas.remove("q");
  });

  it("counts instances of its block that were charged already once, not twice", async () => {
    scaling = await org.open();
    const { quotas, charges, transactions } = scaling.books;
    const allocation_info = { gpus_per_replica: { F: 1 } };
    const limits = { nominal: { F: 4 } };
    await quotas.create({ subject_id: "s", quota_id: "q", allocation_info, ...limits });
    const about = { quotaId: "q", operationId: "o", createdAt: "2026-01-01T00:00:00.000Z" };
    const row = { ...about, chargeId: "block/q", kind: "block" as const, instances: 3 };
    await transactions.run((plan) => charges.planAdoption(plan, { ...row, gpus: { F: 3_000 } }));
    expect((await scaling.scaled("s", 2)).state).toBe("confirmed");
    expect(charges.usedBy("q")).toEqual({ F: 3_000 });
    expect((await scaling.scaled("s", 4)).state).toBe("confirmed");
    expect(charges.usedBy("q")).toEqual({ F: 4_000 });
    await expect(scaling.ask("s", 5)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    expect((await scaling.scaled("s", 1)).state).toBe("confirmed");
    expect(charges.usedBy("q")).toEqual({ F: 3_000 });
  });
});

describe("a quota whose replicas cost more than those that it has", () => {
  it("is scaled down all the same, and up only as far as there is room", async () => {
    scaling = await org.open();
    const { quotas, charges } = scaling.books;
    const profile = (gpus: number) => ({ allocation_info: { gpus_per_replica: { F: gpus } } });
    await quotas.create({ subject_id: "s", quota_id: "q", nominal: { F: 8 }, ...profile(1) });
    expect(await scaling.scaled("s", 8)).toMatchObject({ state: "confirmed" });
    await quotas.change("q", profile(2));
    await expect(scaling.ask("s", 9)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    expect(await scaling.scaled("s", 3)).toMatchObject({ state: "confirmed" });
    expect(charges.usedBy("q")).toEqual({ F: 6_000 });
    await expect(scaling.ask("s", 5)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    expect(await scaling.scaled("s", 0)).toMatchObject({ state: "confirmed" });
    expect(charges.usedBy("q")).toEqual({});
  });
});

describe("a price that changes while a request is under way", () => {
  const profile = (gpus: number) => ({ allocation_info: { gpus_per_replica: { F: gpus } } });
  const under = async (asked: number) => {
    const { uuid } = await scaling.ask("s", asked);
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
    return async (response: { status: string; replicas?: number }) => {
      await org.confirm(uuid, response);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).not.toBe("dispatched"));
    };
  };
  const usedGpus = () => (scaling.books.charges.usedBy("q").F ?? 0) / 1_000;

  it("is not that of the replicas that it has charged", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    const { quotas } = scaling.books;
    await quotas.create({ subject_id: "s", quota_id: "q", limit: { F: 4 }, ...profile(1) });
    const up = await under(4);
    await quotas.change("q", profile(2));
    await up({ status: "allocated", replicas: 4 });
    expect(usedGpus()).toBe(4);
    const down = await under(2);
    await down({ status: "allocated", replicas: 3 });
    expect(usedGpus()).toBe(4);
    await expect(scaling.ask("s", 4)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    await (await under(2))({ status: "allocated", replicas: 2 });
    expect(usedGpus()).toBe(4);
  });

  it("leaves what was charged before a request that was never sent", async () => {
    let status = 200;
    const { url } = await org.allocator(() => [status, { success: status === 200, data: {} }]);
    scaling = await org.open({ allocatorUrl: url });
    const { quotas } = scaling.books;
    await quotas.create({ subject_id: "s", quota_id: "q", limit: { F: 6 }, ...profile(1) });
    await (await under(4))({ status: "allocated", replicas: 4 });
    await quotas.change("q", profile(2));
    status = 400;
    const { uuid } = await scaling.ask("s", 3);
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("failed"));
    expect(usedGpus()).toBe(4);
  });
});

describe("a quota that uses more than it may", () => {
  it("is previewed without a trace, and scaled back", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    const { quotas, charges } = scaling.books;
    const allocation_info = { gpus_per_replica: { F: 1 } };
    const limit = { limit: { F: 2 }, replica_count: 5 };
    await quotas.create({ subject_id: "s", quota_id: "q", ...limit, allocation_info });
    const bring = async (asked: number, confirmed: number) => {
      const { uuid } = await scaling.ask("s", asked);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
      await org.confirm(uuid, { status: "allocated", replicas: confirmed });
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).not.toBe("dispatched"));
      expect(quota("q").replicas).toBe(confirmed);
    };
    await bring(2, 5);
    expect(charges.usedBy("q")).toEqual({ F: 5_000 });
    const preview = await previewQuota(scaling.books, "q", { limit: { F: 100 } });
    expect(preview).toMatchObject({ kind: "fits" });
    expect(quotas.planned("q")).toMatchObject({ revision: 1, quota: { limit: { F: 2_000 } } });
    await expect(scaling.ask("s", 9)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    await quotas.change("q", { max_replicas: 50 });
    await bring(1, 1);
    expect(charges.usedBy("q")).toEqual({ F: 1_000 });
  });
});

describe("a request that waits for a human", () => {
  const waiting = { approvalWithinMs: 60_000 };

  it("is told, charges nothing and is not sent until it is approved", async () => {
    scaling = await org.open();
    const allocation_info = { gpus_per_replica: { H100: 1 } };
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", allocation_info });
    const request = await scaling.ask("s", 7, waiting);
    expect(request).toMatchObject({ state: "awaiting_approval" });
    await vi.waitFor(() => expect(org.heard).toHaveLength(1));
    expect(org.heard[0]).toMatchObject({
      subject: "berth.default_org.approvals",
      body: { uuid: request.uuid, replicas: 7, approval_ends_at: expect.any(String) },
    });
    expect(scaling.books.charges.usedBy("q")).toEqual({});
    await scaling.scaling.decide(request.uuid, true, "alice");
    await vi.waitFor(() => expect(quota("q").replicas).toBe(7));
    expect(scaling.scale.get(request.uuid)?.reason).toBe("test; approved by alice");
    await expect(scaling.scaling.decide(request.uuid, false, "bob")).rejects.toMatchObject({
      reason: "CONFLICT",
    });
  });

  it("is not approved too late, nor beyond bounds that have changed", async () => {
    let laterMs = 0;
    const clock = {
      nowMs: () => performance.now() + laterMs,
      timestamp: () => new Date(Date.now() + laterMs).toISOString(),
    };
    scaling = await org.open({ clock });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 1 });
    const one = await scaling.ask("s", 7, waiting);
    await scaling.books.quotas.change("q", { max_replicas: 2 });
    await expect(scaling.scaling.decide(one.uuid, true, "alice")).rejects.toMatchObject({
      reason: "PRECONDITION_FAILED",
    });
    await scaling.books.quotas.change("q", { max_replicas: 7 });
    laterMs = 60_001;
    await expect(scaling.scaling.decide(one.uuid, true, "alice")).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringMatching(/was to be approved until /),
    });
    expect(quota("q").replicas).toBe(1);
  });

  it("is not approved once other replicas are desired than when it was asked", async () => {
    scaling = await org.open();
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 1 });
    const { uuid } = await scaling.ask("s", 7, waiting);
    await scaling.books.quotas.change("q", { replica_count: 9 });
    await expect(scaling.scaling.decide(uuid, true, "alice")).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringMatching(/1 replicas were desired when it was judged, 9 now$/),
    });
    expect(quota("q").replicas).toBe(9);
    await scaling.books.quotas.change("q", { replica_count: 1 });
    expect(await scaling.scaling.decide(uuid, true, "alice")).toMatchObject({ state: "pending" });
  });

  it("is rejected by a human, or by time", async () => {
    scaling = await org.open();
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 1 });
    const one = await scaling.ask("s", 7, waiting);
    expect(await scaling.scaling.decide(one.uuid, false, "alice")).toMatchObject({
      state: "rejected",
    });
    const two = await scaling.ask("s", 8, waiting);
    await scaling.scaling.reviewApprovals(Date.now() + 59_000);
    expect(scaling.scale.get(two.uuid)?.state).toBe("awaiting_approval");
    await scaling.scaling.reviewApprovals(Date.now() + 61_000);
    expect(scaling.scale.get(two.uuid)).toMatchObject({
      ...{ state: "rejected", reason: "test; rejected by nobody in time" },
    });
    expect(quota("q").replicas).toBe(1);
  });
});
