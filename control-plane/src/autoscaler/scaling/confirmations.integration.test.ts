import { BerthError, type Bus } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
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

describe("confirmations", () => {
  it("count once, for what was sent, and in no other case", async () => {
    const { url, asked } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 1 });
    await org.confirm("nobody-knows-it", { status: "allocated", replicas: 9 });
    await org.bus.publish({ subject: "default_org__alloc_response", text: "no json" });
    const first = await scaling.ask("s", 3);
    await vi.waitFor(() =>
      expect(asked).toEqual([{ uuid: first.uuid, subject_id: "s", replicas: 3 }]),
    );
    const second = await scaling.ask("s", 5);
    expect(scaling.scale.get(first.uuid)?.state).toBe("superseded");
    await vi.waitFor(() => expect(scaling.scale.get(second.uuid)?.state).toBe("dispatched"));
    await org.confirm(first.uuid, { status: "allocated", replicas: 3 });
    await org.confirm(second.uuid, { status: "allocated", replicas: 5 });
    await vi.waitFor(() => expect(scaling.scale.get(second.uuid)?.state).toBe("confirmed"));
    await org.confirm(second.uuid, { status: "allocated", replicas: 8 });
    await org.confirm(first.uuid, { status: "allocated", replicas: 3 });
    // Behind them all, so that they were heard when this one is over.
    const last = await scaling.ask("s", 6);
    await vi.waitFor(() => expect(scaling.scale.get(last.uuid)?.state).toBe("dispatched"));
    await org.confirm(last.uuid, { status: "error", message: "no room" });
    await vi.waitFor(() => expect(scaling.scale.get(last.uuid)?.state).toBe("failed"));
    expect(quota("q").replicas).toBe(5);
    expect(scaling.scale.get(first.uuid)?.state).toBe("superseded");
  });

  it("of others count for nothing where Berth applies requests itself", async () => {
    const applied = Promise.withResolvers<void>();
    const instances = Array.from({ length: 3 }, (_, n) => ({ instance_id: `i-${n}` }));
    const gateway = {
      find: () => ({ told: { clusterId: "c1" } }) as never,
      ask: async () => ({ status: 200, bodyJson: JSON.stringify({ data: { instances } }) }),
      act: async () => {
        await applied.promise;
        instances.pop();
        return { status: 200, bodyJson: "{}" };
      },
    };
    scaling = await org.open({ gateway });
    const allocation_info = { block_id: "b", gpus_per_replica: { H100: 1 } };
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", allocation_info });
    const request = await scaling.ask("s", 2);
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.order).toBeDefined());
    await org.confirm(request.uuid, { status: "allocated", replicas: 90_000 });
    await org.confirm(request.uuid, { status: "failed" });
    await expect(scaling.confirm(request.uuid, { replicas: 9 })).rejects.toMatchObject({
      reason: "PRECONDITION_FAILED",
    });
    await vi.waitFor(() => expect(org.heard).toHaveLength(2));
    expect(scaling.scale.get(request.uuid)?.state).toBe("dispatched");
    applied.resolve();
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.state).toBe("confirmed"));
    expect(quota("q").replicas).toBe(2);
    expect(scaling.books.charges.usedBy("q")).toEqual({ H100: 2_000 });
  });

  it("of more than were asked for are not taken for what there is", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    const allocation_info = { gpus_per_replica: { F: 1 } };
    const bounds = { nominal: { F: 4 }, replica_count: 1 };
    await scaling.books.quotas.create({
      subject_id: "s",
      quota_id: "q",
      ...bounds,
      allocation_info,
    });
    const { uuid } = await scaling.ask("s", 2);
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
    await org.confirm(uuid, { status: "allocated", replicas: 90_000 });
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("failed"));
    const message = "90000 replicas were confirmed, expected at most 2";
    expect(scaling.scale.get(uuid)?.response).toEqual({ status: "failed", message });
    expect(scaling.books.charges.usedBy("q")).toEqual({ F: 2_000 });
    expect(quota("q").replicas).toBe(1);
  });

  it("that are large, or of a subject with a long name, hold up nothing behind them", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    const long = "é".repeat(100);
    await scaling.books.quotas.create({ subject_id: long, quota_id: "q" });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q-s" });
    const large = { status: "allocated", replicas: 2, detail: "x".repeat(500_000) };
    for (const subject of [long, "s"]) {
      const { uuid } = await scaling.ask(subject, 2);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
      await org.confirm(uuid, large);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("confirmed"));
      expect(scaling.scale.get(uuid)?.response).toEqual({ status: "allocated", replicas: 2 });
    }
    await vi.waitFor(() => expect(scaling.scale.outbox()).toEqual([]));
    const notices = org.heard.filter(({ subject }) => subject.endsWith(".allocation"));
    expect(notices).toHaveLength(2);
    expect(notices[0]?.subject).toMatch(/^berth\.default_org\.subject\.~[0-9a-f]{64}\.allocation$/);
  });

  it("that are too long for the bus go with what counts alone", async () => {
    const { url } = await org.allocator(() => [
      200,
      { status: "allocated", replicas: 2, detail: "x".repeat(2_000) },
    ]);
    const bus: Bus = {
      status: org.bus.status,
      publish: (message) => {
        if (message.text.length <= 1_000) return org.bus.publish(message);
        return Promise.reject(new BerthError("PAYLOAD_TOO_LARGE", "text: too long"));
      },
      subscribe: (options) => org.bus.subscribe(options),
      close: async () => {},
    };
    scaling = await org.open({ allocatorUrl: url, bus });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q" });
    const { uuid, response } = await scaling.scaled("s", 2);
    expect(response).toMatchObject({ replicas: 2, detail: expect.any(String) });
    await vi.waitFor(() => expect(org.heard).toHaveLength(2));
    const words = { status: "allocated", replicas: 2 };
    expect(org.heard[0]?.body).toEqual({ uuid, response: words });
    expect(org.heard[1]?.body).toMatchObject({ uuid, state: "confirmed", response: words });
  });

  it("of an allocator that refuses say so, and of one that is away come when it is back", async () => {
    let answer: readonly [number, object] = [200, { success: false, error: "no room" }];
    const { url, asked } = await org.allocator(() => answer);
    scaling = await org.open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 2 });
    expect(await scaling.scaled("s", 4)).toMatchObject({
      state: "failed",
      response: { status: "failed", message: "no room", replicas: 2 },
    });
    answer = [503, {}];
    const request = await scaling.ask("s", 5);
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(2), { timeout: 10_000 });
    answer = [200, { success: true }];
    const before = asked.length;
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(before), { timeout: 10_000 });
    await org.confirm(request.uuid, { status: "allocated", replicas: 5 });
    await vi.waitFor(() => expect(quota("q").replicas).toBe(5));
    expect(new Set(asked.slice(1).map((one) => (one as { uuid: string }).uuid)).size).toBe(1);
  });

  it.each([
    [{ status: "allocated", replicas: 4 }, "confirmed", 4],
    [{ response: { status: "allocated", replicas: "3" } }, "partial", 3],
    [{ replicas: 1, status: "failed" }, "failed", 1],
  ])("are over when their allocator answers %j at once", async (answer, state, replicas) => {
    const { url, asked } = await org.allocator(() => [200, answer]);
    scaling = await org.open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 2 });
    expect(await scaling.scaled("s", 4)).toMatchObject({ state, response: { replicas } });
    expect(quota("q").replicas).toBe(replicas);
    expect(asked).toHaveLength(1);
  });

  it("wait on when the answer is of another one, says that it takes time, or nothing", async () => {
    let answer: readonly [number, object] = [200, { uuid: "x", response: { replicas: 4 } }];
    const { url, asked } = await org.allocator(() => answer);
    scaling = await org.open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q" });
    for (const next of [[202, { status: "queued", replicas: 0 }], [200, []], undefined] as const) {
      const request = await scaling.ask("s", 4);
      await vi.waitFor(() => expect(asked.at(-1)).toMatchObject({ uuid: request.uuid }));
      await scaling.confirm("nobody", { replicas: 1 });
      expect(scaling.scale.get(request.uuid)?.state).toBe("dispatched");
      await scaling.confirm(request.uuid, { replicas: 4 });
      await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.state).toBe("confirmed"));
      if (next !== undefined) answer = next;
    }
  });
});

describe("those who wait", () => {
  const signal = new AbortController().signal;
  const asked = { subjectId: "s", replicas: 2, origin: "adhoc", reason: "test" } as const;

  it("are not waited for by anybody: a time-out or a client that left cancels nothing", async () => {
    const { url } = await org.allocator();
    scaling = await org.open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q" });
    const end = await scaling.scaler.scaleAndWait(asked, { timeoutMs: 20, signal });
    expect(end.kind).toBe("waiting");
    const gone = AbortSignal.abort();
    expect(
      (await scaling.scaler.scaleAndWait(asked, { timeoutMs: 60_000, signal: gone })).kind,
    ).toBe("waiting");
    const newest = scaling.scale.all()[0];
    const waits = scaling.scaler.wait(newest?.uuid ?? "", { timeoutMs: 60_000, signal });
    await vi.waitFor(() => expect(scaling.scale.get(newest?.uuid ?? "")?.state).toBe("dispatched"));
    await org.confirm(newest?.uuid ?? "", { status: "allocated", replicas: 2, by: "hand" });
    expect(await waits).toMatchObject({
      kind: "over",
      request: { state: "confirmed" },
      message: { uuid: newest?.uuid, response: { status: "allocated", replicas: 2, by: "hand" } },
    });
    expect(scaling.scaler.waiting).toBe(0);
  });
});
