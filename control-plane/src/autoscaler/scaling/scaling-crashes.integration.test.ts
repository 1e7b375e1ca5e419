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
import { isOpen, type ScaleRequest } from "./scale-request.ts";

/** Each is killed three times: 510 points. */
const SEEDS = 170;
const QUOTAS = 3;
const LIVES = 3;
const GPUS_PER_REPLICA = 2;

/** A store of a process that is killed at one of its writes: before or behind it; nothing works from then on. */
function killedAt(store: DocumentStore, write: number, isBehind: boolean): DocumentStore {
  let count = 0;
  return withApply(store, async (batch) => {
    count += 1;
    if (count > write) return new Promise(() => undefined);
    if (count < write) return store.apply(batch);
    if (isBehind) await store.apply(batch);
    return new Promise(() => undefined);
  });
}

interface Life {
  readonly scaling: TestScaling;
  readonly end: () => Promise<void>;
}

/** One life of the program; `heard` gets what is told on the bus. */
async function live(store: DocumentStore, heard: Map<string, string>): Promise<Life> {
  const bus = openBus({ orgId: "default_org", logger: silentLogger, clock: systemClock });
  await bus.subscribe({
    subject: "berth.default_org.subject.*.allocation",
    handler: ({ text }) => {
      const { uuid, state } = JSON.parse(text);
      expect(heard.get(uuid) ?? state).toBe(state);
      heard.set(uuid, state);
    },
  });
  const scaling = await openScaling({ store, bus });
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
  const first = await live(store, heard);
  for (let id = 0; id < QUOTAS; id += 1) {
    const allocation_info = { gpus_per_replica: { F: GPUS_PER_REPLICA } };
    const limit = { F: 4 * GPUS_PER_REPLICA };
    const body = { quota_id: `q${id}`, subject_id: `s${id}`, allocation_info, limit };
    await first.scaling.books.quotas.create(body);
  }
  await first.scaling.stop();
  await first.end();

  const acknowledged: ScaleRequest[] = [];
  for (let life = 0; life < LIVES; life += 1) {
    const killed = await live(killedAt(store, 1 + next(12), next(2) === 0), heard);
    acknowledged.push(...(await askAll(killed, next)));
    // Of what hangs in its store nothing comes any more; its timers end.
    void killed.scaling.stop();
    await killed.end();
  }
  const last = await live(store, heard);
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
