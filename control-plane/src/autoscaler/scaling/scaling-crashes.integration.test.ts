import { randomUUID } from "node:crypto";
import {
  type DocumentStore,
  openBus,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { seededRandom } from "@berth/service-kit/testing/seeded-random";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { expect, it, vi } from "vitest";
import { openScaling, type TestScaling } from "../../testing/scaling-fixture.ts";
import type { Placer } from "./placer.ts";
import { isOpen, type ScaleRequest } from "./scale-request.ts";

/** Each is killed three times: 510 points. */
const SEEDS = 170;
const QUOTAS = 3;
const LIVES = 3;
const GPUS_PER_REPLICA = 2;

/**
 * A store of a process that is killed at one of its writes, before or behind it, or by `kill`: nothing works from then on, and
 * nothing is on its way any more when that resolves.
 */
function killedAt(store: DocumentStore, write: number, isBehind: boolean) {
  let left = write;
  let last: Promise<unknown> = Promise.resolve();
  const killed = withApply(store, async (batch) => {
    left -= 1;
    if (left < 0 || (left === 0 && !isBehind)) return new Promise(() => undefined);
    const applied = store.apply(batch);
    last = applied;
    return left === 0 ? new Promise(() => undefined) : applied;
  });
  const kill = async () => {
    left = 0;
    await last;
  };
  return { store: killed, kill };
}

/** A ledger that outlives whoever asks, with room for everybody. */
function modelLedger() {
  const leases = new Set<string>();
  const placer: Placer = {
    async place(_asked, signal) {
      await new Promise(setImmediate);
      signal.throwIfAborted();
      const leaseId = randomUUID();
      leases.add(leaseId);
      const place = { id: leaseId, clusterId: "c", nodeId: "n", gpus: [], leaseId, placedAt: "" };
      return { kind: "placed", place, gpus: { F: GPUS_PER_REPLICA * 1_000 } };
    },
    async release(places) {
      await new Promise(setImmediate);
      for (const { id } of places) leases.delete(id);
    },
    renew: async () => new Set(),
  };
  return { leases, placer };
}

interface Life {
  readonly scaling: TestScaling;
  readonly end: () => Promise<void>;
}

/** One life of the program; `heard` gets what is told on the bus. */
async function live(
  store: DocumentStore,
  heard: Map<string, string>,
  placer: Placer,
): Promise<Life> {
  const bus = openBus({ orgId: "default_org", logger: silentLogger, clock: systemClock });
  await bus.subscribe({
    subject: "berth.default_org.subject.*.allocation",
    handler: ({ text }) => {
      const { uuid, state } = JSON.parse(text);
      expect(heard.get(uuid) ?? state).toBe(state);
      heard.set(uuid, state);
    },
  });
  const scaling = await openScaling({ store, bus, placer });
  return { scaling, end: () => bus.close() };
}

/** Asks for replicas of random quotas, some at a time; gives those that were acknowledged before the end. */
async function askAll(
  { scaling }: Life,
  next: (most: number) => number,
): Promise<readonly ScaleRequest[]> {
  const taken: ScaleRequest[] = [];
  const asked = Array.from({ length: 8 }, async () => {
    const asking = scaling.ask(`s${next(QUOTAS)}`, next(5));
    await asking.then((request) => taken.push(request)).catch(() => undefined);
  });
  // A killed process acknowledges nothing more.
  await Promise.race([Promise.all(asked), new Promise((resolve) => setTimeout(resolve, 15))]);
  return [...taken];
}

async function run(seed: number): Promise<void> {
  const next = seededRandom(seed);
  const store = openSqliteDocumentStore(":memory:", systemClock);
  const heard = new Map<string, string>();
  const { leases, placer } = modelLedger();
  const first = await live(store, heard, placer);
  for (let id = 0; id < QUOTAS; id += 1) {
    const placing = id === 0 ? { policy_rule_uri: "p:1-t" } : {};
    const allocation_info = { gpus_per_replica: { F: GPUS_PER_REPLICA }, ...placing };
    const limit = { F: 4 * GPUS_PER_REPLICA };
    const body = { quota_id: `q${id}`, subject_id: `s${id}`, allocation_info, limit };
    await first.scaling.books.quotas.create(body);
  }
  await first.scaling.stop();
  await first.end();

  const acknowledged: ScaleRequest[] = [];
  for (let life = 0; life < LIVES; life += 1) {
    const { store: itsStore, kill } = killedAt(store, 1 + next(12), next(2) === 0);
    const killed = await live(itsStore, heard, placer);
    acknowledged.push(...(await askAll(killed, next)));
    await kill();
    // Of what hangs in its store nothing comes any more; its timers end.
    void killed.scaling.stop();
    await killed.end();
  }
  const last = await live(store, heard, placer);
  const { scale, books } = last.scaling;
  await vi.waitFor(() => {
    expect(scale.open()).toEqual([]);
    expect(scale.outbox()).toEqual([]);
  });
  for (const { uuid } of acknowledged) expect(isOpen(scale.get(uuid) as ScaleRequest)).toBe(false);
  for (let id = 0; id < QUOTAS; id += 1) {
    const all = scale
      .all()
      .filter(({ quotaId }) => quotaId === `q${id}`)
      .toSorted((one, other) => other.generation - one.generation);
    const generations = all.map(({ generation }) => generation);
    expect(generations).toEqual(Array.from(all, (_, place) => all.length - place));
    const [newest] = all;
    if (newest === undefined) continue;
    expect(newest.state).toBe("confirmed");
    expect(books.quotas.get(`q${id}`).quota.replicas).toBe(newest.replicas);
    const used = newest.replicas * GPUS_PER_REPLICA * 1_000;
    expect(books.charges.usedBy(`q${id}`)).toEqual(used === 0 ? {} : { F: used });
    if (id !== 0) continue;
    const { places = [] } = scale.quota("q0");
    expect(places).toHaveLength(newest.replicas);
    // A lease that is in no place ends by itself; a place has its lease, which no other place has.
    const held = new Set(places.map(({ leaseId = "" }) => leaseId));
    expect(held.size).toBe(places.length);
    expect([...held].filter((leaseId) => !leases.has(leaseId))).toEqual([]);
  }
  // What the bus within the program had not handed over goes with the program; nothing else is ever told of a request.
  for (const { uuid, state } of scale.all()) {
    expect([uuid, heard.get(uuid) ?? state]).toEqual([uuid, state]);
  }
  await last.scaling.stop();
  await last.end();
  await store.close();
}

it(`of ${SEEDS} seeded runs that are killed at any write, loses, doubles and reorders no request`, {
  timeout: 300_000,
}, async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    try {
      await run(seed);
    } catch (thrown) {
      throw new Error(`seed ${seed}`, { cause: thrown });
    }
  }
});
