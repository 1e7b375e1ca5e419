import http from "node:http";
import type { AddressInfo } from "node:net";
import {
  type Bus,
  type DocumentStore,
  openBus,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { previewQuota } from "../../org/charges/preview.ts";
import {
  openScaling,
  type ScalingOptions,
  type TestScaling,
} from "../../testing/scaling-fixture.ts";

let store: DocumentStore;
let bus: Bus;
let scaling: TestScaling;
/** What others hear. */
let heard: { readonly subject: string; readonly body: Record<string, unknown> }[];
const ends: (() => Promise<void>)[] = [];

beforeEach(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  bus = openBus({ orgId: "default_org", logger: silentLogger, clock: systemClock });
  heard = [];
  await bus.subscribe({
    subject: ">",
    handler: ({ subject, text }) => void heard.push({ subject, body: JSON.parse(text) }),
  });
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  await bus.close();
  await store.close();
});

async function open(options: Partial<ScalingOptions> = {}): Promise<TestScaling> {
  scaling = await openScaling({ store, bus, ...options });
  ends.unshift(() => scaling.stop());
  return scaling;
}

const quota = (quotaId: string) => scaling.books.quotas.get(quotaId).quota;
const confirm = (uuid: string, response: object, id = `test/${Math.random()}`) =>
  bus.publish({
    subject: "default_org__alloc_response",
    text: JSON.stringify({ uuid, response }),
    id,
  });
/** An allocator of the org's own that accepts everything and confirms nothing by itself. */
async function externalAllocator(
  answer: (body: unknown) => readonly [status: number, body: object],
) {
  const asked: unknown[] = [];
  const server = http.createServer(async (request, response) => {
    const body = JSON.parse(Buffer.concat(await request.toArray()).toString());
    asked.push(body);
    const [status, reply] = request.url === "/api/allocate" ? answer(body) : [404, {}];
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(reply));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(async () => void server.close().closeAllConnections());
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/` };
}
const accepts = () => externalAllocator(() => [200, { success: true, data: {} }]);

describe("a request to scale", () => {
  it("is confirmed on the seed's subject, and then the quota and its subject know", async () => {
    await open();
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
    await vi.waitFor(() => expect(heard).toHaveLength(2));
    expect(heard).toEqual([
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
    await open();
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
    const { url } = await accepts();
    await open({ allocatorUrl: url });
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
    await confirm(request.uuid, { status: "allocated", replicas: 2 });
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.state).toBe("partial"));
    expect(charges.usedBy("team")).toEqual({ H100: 4_000 });
    expect(quota("q").replicas).toBe(2);
    const down = await scaling.ask("s", 0);
    expect(charges.usedBy("team")).toEqual({ H100: 4_000 });
    await vi.waitFor(() => expect(scaling.scale.get(down.uuid)?.state).toBe("dispatched"));
    await confirm(down.uuid, { status: "allocated", replicas: 0 });
    await vi.waitFor(() => expect(charges.usedBy("team")).toEqual({}));
    await quotas.remove("q");
  });

  it("keeps its quota from being removed until it is over", async () => {
    const { url } = await accepts();
    await open({ allocatorUrl: url });
    const { quotas } = scaling.books;
    await quotas.create({ quota_id: "q", subject_id: "s" });
    const { uuid } = await scaling.ask("s", 2);
    await expect(quotas.remove("q")).rejects.toMatchObject({
      reason: "CONFLICT",
      message: expect.stringContaining(`has a request under way: ${uuid} is `),
    });
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
    await confirm(uuid, { status: "allocated", replicas: "many" });
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("failed"));
    expect(scaling.scale.get(uuid)?.response?.message).toContain("response.replicas: expected");
    await quotas.remove("q");
  });

  it("counts instances of its block that were charged already once, not twice", async () => {
    await open();
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

describe("confirmations", () => {
  it("count once, for what was sent, and in no other case", async () => {
    const { url, asked } = await accepts();
    await open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 1 });
    await confirm("nobody-knows-it", { status: "allocated", replicas: 9 });
    await bus.publish({ subject: "default_org__alloc_response", text: "no json" });
    const first = await scaling.ask("s", 3);
    await vi.waitFor(() =>
      expect(asked).toEqual([{ uuid: first.uuid, subject_id: "s", replicas: 3 }]),
    );
    const second = await scaling.ask("s", 5);
    expect(scaling.scale.get(first.uuid)?.state).toBe("superseded");
    await vi.waitFor(() => expect(scaling.scale.get(second.uuid)?.state).toBe("dispatched"));
    await confirm(first.uuid, { status: "allocated", replicas: 3 });
    await confirm(second.uuid, { status: "allocated", replicas: 5 });
    await vi.waitFor(() => expect(scaling.scale.get(second.uuid)?.state).toBe("confirmed"));
    await confirm(second.uuid, { status: "allocated", replicas: 8 });
    await confirm(first.uuid, { status: "allocated", replicas: 3 });
    // Behind them all, so that they were heard when this one is over.
    const last = await scaling.ask("s", 6);
    await vi.waitFor(() => expect(scaling.scale.get(last.uuid)?.state).toBe("dispatched"));
    await confirm(last.uuid, { status: "error", message: "no room" });
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
    await open({ gateway });
    const allocation_info = { block_id: "b", gpus_per_replica: { H100: 1 } };
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", allocation_info });
    const request = await scaling.ask("s", 2);
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.order).toBeDefined());
    await confirm(request.uuid, { status: "allocated", replicas: 90_000 });
    await confirm(request.uuid, { status: "failed" });
    await expect(scaling.confirm(request.uuid, { replicas: 9 })).rejects.toMatchObject({
      reason: "PRECONDITION_FAILED",
    });
    await vi.waitFor(() => expect(heard).toHaveLength(2));
    expect(scaling.scale.get(request.uuid)?.state).toBe("dispatched");
    applied.resolve();
    await vi.waitFor(() => expect(scaling.scale.get(request.uuid)?.state).toBe("confirmed"));
    expect(quota("q").replicas).toBe(2);
    expect(scaling.books.charges.usedBy("q")).toEqual({ H100: 2_000 });
  });

  it("of more than were asked for are not taken for what there is", async () => {
    const { url } = await accepts();
    await open({ allocatorUrl: url });
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
    await confirm(uuid, { status: "allocated", replicas: 90_000 });
    await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("failed"));
    const message = "90000 replicas were confirmed, expected at most 2";
    expect(scaling.scale.get(uuid)?.response).toEqual({ status: "failed", message });
    expect(scaling.books.charges.usedBy("q")).toEqual({ F: 2_000 });
    expect(quota("q").replicas).toBe(1);
  });

  it("that are large, or of a subject with a long name, hold up nothing behind them", async () => {
    const { url } = await accepts();
    await open({ allocatorUrl: url });
    const long = "é".repeat(100);
    await scaling.books.quotas.create({ subject_id: long, quota_id: "q" });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q-s" });
    const large = { status: "allocated", replicas: 2, detail: "x".repeat(500_000) };
    for (const subject of [long, "s"]) {
      const { uuid } = await scaling.ask(subject, 2);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
      await confirm(uuid, large);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("confirmed"));
      expect(scaling.scale.get(uuid)?.response).toEqual({ status: "allocated", replicas: 2 });
    }
    await vi.waitFor(() => expect(scaling.scale.outbox()).toEqual([]));
    const notices = heard.filter(({ subject }) => subject.endsWith(".allocation"));
    expect(notices).toHaveLength(2);
    expect(notices[0]?.subject).toMatch(/^berth\.default_org\.subject\.~[0-9a-f]{64}\.allocation$/);
  });

  it("of an allocator that refuses say so, and of one that is away come when it is back", async () => {
    let answer: readonly [number, object] = [200, { success: false, error: "no room" }];
    const { url, asked } = await externalAllocator(() => answer);
    await open({ allocatorUrl: url });
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
    await confirm(request.uuid, { status: "allocated", replicas: 5 });
    await vi.waitFor(() => expect(quota("q").replicas).toBe(5));
    expect(new Set(asked.slice(1).map((one) => (one as { uuid: string }).uuid)).size).toBe(1);
  });

  it.each([
    [{ status: "allocated", replicas: 4 }, "confirmed", 4],
    [{ response: { status: "allocated", replicas: "3" } }, "partial", 3],
    [{ replicas: 1, status: "failed" }, "failed", 1],
  ])("are over when their allocator answers %j at once", async (answer, state, replicas) => {
    const { url, asked } = await externalAllocator(() => [200, answer]);
    await open({ allocatorUrl: url });
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 2 });
    expect(await scaling.scaled("s", 4)).toMatchObject({ state, response: { replicas } });
    expect(quota("q").replicas).toBe(replicas);
    expect(asked).toHaveLength(1);
  });

  it("wait on when the answer is of another one, says that it takes time, or nothing", async () => {
    let answer: readonly [number, object] = [200, { uuid: "x", response: { replicas: 4 } }];
    const { url, asked } = await externalAllocator(() => answer);
    await open({ allocatorUrl: url });
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

describe("a quota whose replicas cost more than those that it has", () => {
  it("is scaled down all the same, and up only as far as there is room", async () => {
    await open();
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

describe("a quota that uses more than it may", () => {
  it("is previewed without a trace, and scaled back", async () => {
    const { url } = await accepts();
    await open({ allocatorUrl: url });
    const { quotas, charges } = scaling.books;
    const allocation_info = { gpus_per_replica: { F: 1 } };
    const limit = { limit: { F: 2 }, replica_count: 5 };
    await quotas.create({ subject_id: "s", quota_id: "q", ...limit, allocation_info });
    const bring = async (asked: number, confirmed: number) => {
      const { uuid } = await scaling.ask("s", asked);
      await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("dispatched"));
      await confirm(uuid, { status: "allocated", replicas: confirmed });
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
    await open();
    const allocation_info = { gpus_per_replica: { H100: 1 } };
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", allocation_info });
    const request = await scaling.ask("s", 7, waiting);
    expect(request).toMatchObject({ state: "awaiting_approval" });
    await vi.waitFor(() => expect(heard).toHaveLength(1));
    expect(heard[0]).toMatchObject({
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
    await open({ clock });
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

  it("is rejected by a human, or by time", async () => {
    await open();
    await scaling.books.quotas.create({ subject_id: "s", quota_id: "q", replica_count: 1 });
    const one = await scaling.ask("s", 7, waiting);
    expect(await scaling.scaling.decide(one.uuid, false, "alice")).toMatchObject({
      state: "rejected",
    });
    const two = await scaling.ask("s", 8, waiting);
    await scaling.scaling.expireApprovals(Date.now() + 59_000);
    expect(scaling.scale.get(two.uuid)?.state).toBe("awaiting_approval");
    await scaling.scaling.expireApprovals(Date.now() + 61_000);
    expect(scaling.scale.get(two.uuid)).toMatchObject({
      ...{ state: "rejected", reason: "test; rejected by nobody in time" },
    });
    expect(quota("q").replicas).toBe(1);
  });
});

describe("those who wait", () => {
  const signal = new AbortController().signal;
  const asked = { subjectId: "s", replicas: 2, origin: "adhoc", reason: "test" } as const;

  it("are not waited for by anybody: a time-out or a client that left cancels nothing", async () => {
    const { url } = await accepts();
    await open({ allocatorUrl: url });
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
    await confirm(newest?.uuid ?? "", { status: "allocated", replicas: 2, by: "hand" });
    expect(await waits).toMatchObject({
      kind: "over",
      request: { state: "confirmed" },
      message: { uuid: newest?.uuid, response: { status: "allocated", replicas: 2, by: "hand" } },
    });
    expect(scaling.scaler.waiting).toBe(0);
  });
});
