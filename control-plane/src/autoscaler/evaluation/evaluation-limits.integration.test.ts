import { type Clock, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { seededRandom } from "@berth/service-kit/testing/seeded-random";
import { expect, it } from "vitest";
import { openScaling, type TestScaling } from "../../testing/scaling-fixture.ts";
import { isOpen, type ScaleRequest } from "../scaling/scale-request.ts";

/** Whatever a workflow wants, whenever it is asked, over restarts: what was asked for keeps to the limits. */
const SEEDS = 60;
const TICKS = 40;
const SUBJECTS = ["a", "b"];

type Next = (most: number) => number;

interface Limits {
  readonly up: { readonly value: number; readonly seconds: number };
  readonly down: { readonly value: number; readonly seconds: number };
  readonly cooldownSeconds: number;
  readonly flap: { readonly reversals: number; readonly seconds: number };
  readonly max: number;
}

const limitsOf = (next: Next): Limits => ({
  up: { value: 1 + next(5), seconds: 10 + next(300) },
  down: { value: 1 + next(5), seconds: 10 + next(300) },
  cooldownSeconds: next(2) * next(120),
  flap: { reversals: 1 + next(3), seconds: 60 + next(1_800) },
  max: 5 + next(20),
});

const rulesOf = ({ up, down, cooldownSeconds, flap }: Limits) => {
  const direction = ({ value, seconds }: Limits["up"]) => ({
    ...{ stabilization_seconds: 0, cooldown_seconds: cooldownSeconds },
    rate_policies: [{ type: "replicas", value, period_seconds: seconds }],
  });
  return {
    workflow_id: "w",
    guards: {
      ...{ tolerance: 0, scale_up: direction(up), scale_down: direction(down) },
      flap_budget: { max_reversals: flap.reversals, window_seconds: flap.seconds },
    },
  };
};

/** What is wanted: steps, waves and noise, as the seed has it. */
function series(next: Next): (tick: number) => number {
  const kind = next(3);
  const size = 1 + next(30);
  if (kind === 0) return () => next(size);
  if (kind === 1) return (tick) => (Math.floor(tick / 3) % 2 === 0 ? size : 0);
  return (tick) => Math.round(((Math.sin(tick / 2) + 1) / 2) * size);
}

/** What a quota was asked for, in order: only what is another number than before. */
const changesOf = (requests: readonly ScaleRequest[], quotaId: string) =>
  requests
    .filter((one) => one.quotaId === quotaId && one.replicas !== one.before)
    .map((one) => ({
      atMs: Date.parse(one.createdAt),
      by: one.replicas - one.before,
      to: one.replicas,
    }))
    .sort((one, other) => one.atMs - other.atMs);

function checkLimits(changes: ReturnType<typeof changesOf>, limits: Limits): void {
  for (const [index, change] of changes.entries()) {
    const before = changes.slice(0, index + 1);
    const within = (seconds: number) =>
      before.filter(({ atMs }) => atMs > change.atMs - seconds * 1_000);
    // As the HorizontalPodAutoscaler counts: against what there was when the period began.
    const net = (seconds: number) => within(seconds).reduce((sum, { by }) => sum + by, 0);
    if (change.by > 0) expect(net(limits.up.seconds)).toBeLessThanOrEqual(limits.up.value);
    else expect(-net(limits.down.seconds)).toBeLessThanOrEqual(limits.down.value);
    expect(change.to).toBeLessThanOrEqual(limits.max);
    const same = before.slice(0, -1).findLast(({ by }) => Math.sign(by) === Math.sign(change.by));
    const sinceMs = change.atMs - (same?.atMs ?? Number.NEGATIVE_INFINITY);
    expect(sinceMs).toBeGreaterThanOrEqual(limits.cooldownSeconds * 1_000);
    const recent = within(limits.flap.seconds);
    const turns = recent.filter(({ by }, at) => by * (recent[at - 1]?.by ?? by) < 0);
    expect(turns.length).toBeLessThanOrEqual(limits.flap.reversals);
  }
}

async function run(seed: number): Promise<number> {
  const next = seededRandom(seed);
  const limits = limitsOf(next);
  const store = openSqliteDocumentStore(":memory:", systemClock);
  let ms = Date.parse("2026-01-01T00:00:00Z");
  const clock: Clock = { nowMs: () => ms, timestamp: () => new Date(ms).toISOString() };
  const wanted = SUBJECTS.map(() => series(next));
  let tick = 0;
  const open = () =>
    openScaling({
      ...{ store, clock },
      runModule: async () => {
        const result = SUBJECTS.map((subject, at) => [subject, wanted[at]?.(tick) ?? 0]);
        return { kind: "returned", resultJson: JSON.stringify(Object.fromEntries(result)) };
      },
    });
  let scaling = await open();
  await scaling.workflows.create({
    ...{ workflow_id: "w", modules: { m: { code: "x" } }, graph: { m: [] } },
  });
  await scaling.settings.rules.merge(rulesOf(limits));
  for (const subject of SUBJECTS) {
    const bounds = { replica_count: 1 + next(4), max_replicas: limits.max };
    await scaling.books.quotas.create({ subject_id: subject, quota_id: subject, ...bounds });
  }
  for (tick = 0; tick < TICKS; tick += 1) {
    ms += 1_000 * (1 + next(90));
    await scaling.timer.evaluateNow(false);
    await settled(scaling);
    if (next(8) > 0) continue;
    await scaling.stop();
    scaling = await open();
  }
  const requests = scaling.scale.all();
  for (const subject of SUBJECTS) checkLimits(changesOf(requests, subject), limits);
  await scaling.stop();
  await store.close();
  return requests.length;
}

async function settled({ scale, scaler }: TestScaling): Promise<void> {
  const limits = { timeoutMs: 10_000, signal: new AbortController().signal };
  for (const { uuid } of scale.all().filter(isOpen)) await scaler.wait(uuid, limits);
}

it(`keeps ${SEEDS} random series within rates, cooldowns, flap budgets and bounds, over restarts`, {
  timeout: 120_000,
}, async () => {
  let requests = 0;
  for (let seed = 1; seed <= SEEDS; seed += 1) requests += await run(seed);
  expect(requests).toBeGreaterThan(SEEDS);
});
