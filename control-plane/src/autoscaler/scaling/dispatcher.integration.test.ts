import { BerthError, type Write } from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AllocatorAnswer, HeardScaling } from "../../testing/heard-scaling.ts";

let org: HeardScaling;
beforeEach(() => {
  org = new HeardScaling();
});
afterEach(async () => {
  vi.useRealTimers();
  await org.close();
});

const isDispatch = (write: Write) =>
  write.key.collection === "scale_requests" &&
  write.kind !== "delete" &&
  (write.body as { readonly state: string }).state === "dispatched";

it("waits longer and longer for a disk that is full, and goes on when it is not", async () => {
  let isFull = true;
  let refusals = 0;
  const store = withApply(org.store, async (writes) => {
    if (!isFull || !writes.some(isDispatch)) return org.store.apply(writes);
    refusals += 1;
    throw new BerthError("UNAVAILABLE", "the disk is full");
  });
  const scaling = await org.open({ store });
  await scaling.books.quotas.create({ subject_id: "s", quota_id: "q" });
  const { uuid } = await scaling.ask("s", 2);
  await vi.waitFor(() => expect(refusals).toBe(3), 10_000);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(refusals).toBeLessThan(5);
  expect(scaling.books.transactions.failure).toBe("the disk is full");
  isFull = false;
  await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("confirmed"), 10_000);
  expect(scaling.books.transactions.failure).toBeUndefined();
});

it("sends an order again under the same key when nobody knows whether it ran", async () => {
  const instances = [{ instance_id: "i-1" }];
  const keys: unknown[] = [];
  const gateway = {
    find: () => ({ told: { clusterId: "c1" } }) as never,
    ask: async () => ({ status: 200, bodyJson: JSON.stringify({ data: { instances } }) }),
    act: async ({ fields }: { readonly fields: Readonly<Record<string, unknown>> }) => {
      keys.push(fields.idempotency_key);
      if (keys.length === 1) {
        // It ran, and its agent died at the answer.
        instances.push({ instance_id: "i-2" });
        throw new BerthError("CONFLICT", "nobody knows whether this ran");
      }
      return { status: 200, bodyJson: "{}" };
    },
  };
  const scaling = await org.open({ gateway });
  const allocation_info = { block_id: "b", gpus_per_replica: { F: 1 } };
  await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", allocation_info });
  const { uuid, state } = await scaling.scaled("s", 2);
  expect(state).toBe("confirmed");
  expect(keys).toEqual([uuid, uuid]);
  expect(scaling.books.charges.usedBy("q")).toEqual({ F: 2_000 });
});

describe("an allocator of the org's own", () => {
  let laterMs = 0;
  const clock = {
    nowMs: () => performance.now() + laterMs,
    timestamp: () => new Date(Date.now() + laterMs).toISOString(),
  };
  beforeEach(() => {
    laterMs = 0;
    vi.useFakeTimers({ toFake: ["setInterval"] });
  });

  async function openWith(answer: AllocatorAnswer) {
    const { url, asked } = await org.allocator(answer);
    const scaling = await org.open({ allocatorUrl: url, clock });
    const allocation_info = { gpus_per_replica: { F: 1 } };
    const quota = { subject_id: "s", quota_id: "q", allocation_info };
    await scaling.books.quotas.create(quota);
    return { scaling, asked, state: (uuid: string) => scaling.scale.get(uuid)?.state };
  }

  it("that refuses what it was asked again keeps what is charged: it may have taken it", async () => {
    const answers = [
      [500, {}],
      [400, { error: "what do you want?" }],
    ] as const;
    let asks = 0;
    const { scaling } = await openWith(() => answers[Math.min(asks++, 1)] ?? [200, {}]);
    expect(await scaling.scaled("s", 5)).toMatchObject({
      ...{ state: "failed", response: { message: "what do you want?" } },
    });
    expect(scaling.books.charges.usedBy("q")).toEqual({ F: 5_000 });
    expect(scaling.books.quotas.get("q").quota.replicas).toBe(0);
  });

  it("that says 409 when it is asked again is waited for", async () => {
    let asks = 0;
    const { scaling, asked, state } = await openWith(() => [asks++ === 0 ? 502 : 409, {}]);
    const { uuid } = await scaling.ask("s", 5);
    await vi.waitFor(() => expect(asked).toHaveLength(2), 10_000);
    await scaling.confirm(uuid, { replicas: 5 });
    await vi.waitFor(() => expect(state(uuid)).toBe("confirmed"));
  });

  it.each([["<html>"], [[]], [{ uuid: "another", response: { replicas: 5 } }]])(
    "is asked again when it answers %j",
    async (unreadable) => {
      let asks = 0;
      const { scaling, asked } = await openWith(() => [
        200,
        asks++ === 0 ? (unreadable as object) : { replicas: 5 },
      ]);
      expect(await scaling.scaled("s", 5)).toMatchObject({ state: "confirmed" });
      expect(asked).toHaveLength(2);
    },
  );

  it("is asked again for what it accepted and never confirmed, and has failed after an hour", async () => {
    const { scaling, asked, state } = await openWith(() => [202, {}]);
    const { uuid } = await scaling.ask("s", 5);
    await vi.waitFor(() => expect(asked).toHaveLength(1), 10_000);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(1);
    laterMs = 301_000;
    await vi.advanceTimersByTimeAsync(10_000);
    await vi.waitFor(() => expect(asked).toEqual([asked[0], asked[0]]), 10_000);
    // It may have noted the second answer before the clock was put on, or after it.
    for (laterMs of [3_601_000, 4_000_000]) await vi.advanceTimersByTimeAsync(10_000);
    await vi.waitFor(() => expect(state(uuid)).toBe("failed"), 10_000);
    expect(scaling.scale.get(uuid)?.response?.message).toMatch(/not confirmed within an hour/);
    expect(scaling.books.charges.usedBy("q")).toEqual({ F: 5_000 });
  });

  it("is not said to have what it had before when it refuses beside what it accepted", async () => {
    const { scaling, asked } = await openWith((body) => [
      (body as { readonly replicas: number }).replicas === 6 ? 400 : 202,
      {},
    ]);
    await scaling.ask("s", 5);
    await vi.waitFor(() => expect(asked).toHaveLength(1), 10_000);
    const refused = await scaling.scaled("s", 6);
    expect(refused).toMatchObject({ state: "failed" });
    expect(refused.response).not.toHaveProperty("replicas");
    expect(scaling.books.charges.usedBy("q")).toEqual({ F: 5_000 });
  });

  it.each(["not a url", "ftp://x/"])("is at a URL, which %j is not", async (allocatorUrl) => {
    await expect(org.open({ allocatorUrl })).rejects.toMatchObject({
      message: "BERTH_SUBJECT_ALLOCATOR_URL: expected http://… or https://…",
    });
  });

  it("is told who asks, and at its own path, where its URL says so", async () => {
    const { url } = await org.allocator(() => [200, { replicas: 1 }]);
    const allocatorUrl = `${url.replace("//", "//me:se%40cret@")}?tenant=7`;
    const scaling = await org.open({ allocatorUrl });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q" });
    expect(await scaling.scaled("s", 1)).toMatchObject({ state: "confirmed" });
    expect(org.callers).toEqual([`Basic ${Buffer.from("me:se@cret").toString("base64")}`]);
  });
});
