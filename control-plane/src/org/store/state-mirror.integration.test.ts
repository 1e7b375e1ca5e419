import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type DocumentStore,
  openMirror,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import {
  type ExternalServer,
  hasRedis,
  startRedisServer,
} from "@berth/service-kit/testing/external-servers";
import { seededRandom } from "@berth/service-kit/testing/seeded-random";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { MIRRORED_REQUESTS } from "../../autoscaler/scaling/scale-book.ts";
import { openScaling, type TestScaling } from "../../testing/scaling-fixture.ts";
import { StateMirror } from "./state-mirror.ts";

const WAIT = { timeout: 15_000, interval: 20 };

describe.skipIf(!hasRedis())("the mirror of an org's state", { timeout: 60_000 }, () => {
  let redis: ExternalServer;
  let client: Redis;
  let directory: string;
  const stores: DocumentStore[] = [];
  const servers: ExternalServer[] = [];
  const lives: Life[] = [];

  interface Life extends TestScaling {
    readonly mirror: StateMirror;
    /** What was put is at Redis. */
    settled(): Promise<void>;
    /** Ends it in order. */
    end(): Promise<void>;
  }

  beforeAll(async () => {
    redis = await startRedisServer();
    client = new Redis(redis.url, { lazyConnect: true });
    client.on("error", () => undefined);
  });
  afterAll(async () => {
    client.disconnect();
    await redis.stop();
  });
  beforeEach(async () => {
    directory = mkdtempSync(path.join(tmpdir(), "berth-mirror-"));
    await client.flushall();
  });
  afterEach(async () => {
    for (const life of lives.splice(0)) await life.end();
    for (const server of servers.splice(0)) await server.stop();
    for (const store of stores.splice(0)) await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A Redis that has what it took after a kill, too. */
  async function durableRedis(): Promise<ExternalServer> {
    const server = await startRedisServer({ isDurable: true });
    servers.push(server);
    return server;
  }

  function newStore(): DocumentStore {
    const store = openSqliteDocumentStore(":memory:", systemClock);
    stores.push(store);
    return store;
  }

  /** One life of the program on a store. */
  async function live(
    store: DocumentStore,
    folder = directory,
    redisUrl = redis.url,
  ): Promise<Life> {
    const orgId = "default_org";
    const driver = openMirror({ redisUrl, directory: folder, orgId, logger: silentLogger });
    const grouped = [MIRRORED_REQUESTS];
    const mirror = new StateMirror({ store, orgId, mirror: driver, grouped, logger: silentLogger });
    await mirror.open();
    const scaling = await openScaling({ store, mirror });
    await mirror.start();
    const life: Life = {
      ...scaling,
      mirror,
      settled: () =>
        vi.waitFor(
          () => expect(mirror.status).toEqual({ driver: "redis", pending: 0, isConnected: true }),
          WAIT,
        ),
      async end() {
        await scaling.stop();
        await mirror.stop();
      },
    };
    lives.push(life);
    return life;
  }

  async function end(life: Life): Promise<void> {
    lives.splice(lives.indexOf(life), 1);
    await life.end();
  }

  const quota = (id: string, more = {}) => ({ subject_id: `s-${id}`, quota_id: id, ...more });

  it("has what was written, and gives it to an empty store, what was under way too", async () => {
    const first = await live(newStore());
    await first.books.quotas.create(quota("é ü", { replica_count: 2, nominal: { H100: 4 } }));
    await first.books.quotas.create(quota("gone"));
    await first.books.quotas.remove("gone");
    await first.books.subjects.create({ subject_id: "s-a", name: "A" });
    await first.settings.config.merge({ threshold: 0.7 });
    await first.workflows.create({
      workflow_id: "w",
      modules: { m: { code: "x" } },
      graph: { m: [] },
    });
    await first.scaled("s-é ü", 3);
    const waiting = await first.ask("s-é ü", 4, { approvalWithinMs: 600_000 });
    await first.settled();
    await end(first);

    const second = await live(newStore());
    expect(second.books.quotas.all()).toMatchObject([{ quota: { quotaId: "é ü", replicas: 3 } }]);
    expect(second.books.subjects.find("s-a")).toMatchObject({ subjectId: "s-a" });
    expect(second.settings.config.current).toMatchObject({ version: 1, body: { threshold: 0.7 } });
    expect(second.workflows.get("w").read.kind).toBe("valid");
    expect(second.scale.open()).toMatchObject([{ uuid: waiting.uuid, generation: 2 }]);
    await second.scaling.decide(waiting.uuid, true, "me");
    await vi.waitFor(() => expect(second.scale.get(waiting.uuid)?.state).toBe("confirmed"), WAIT);
    expect(second.books.quotas.get("é ü").quota.replicas).toBe(4);
    expect((await second.scaled("s-é ü", 1)).generation).toBe(3);
  });

  it("is newer than an older copy of the store, deletions and ends too", async () => {
    const store = newStore();
    const first = await live(store);
    await first.books.quotas.create(quota("a", { replica_count: 1 }));
    await first.books.quotas.create(quota("b"));
    const asked = await first.ask("s-a", 5, { approvalWithinMs: 600_000 });
    await first.settled();
    const copy = newStore();
    await copyOf(store, copy);
    await first.books.quotas.remove("b");
    await first.books.quotas.create(quota("c"));
    await first.scaling.decide(asked.uuid, false, "me");
    await first.settled();
    await end(first);

    const second = await live(copy);
    expect(second.books.quotas.all().map((kept) => kept.quota.quotaId)).toEqual(["a", "c"]);
    expect(second.scale.open()).toEqual([]);
  });

  it("gives way to a store that is newer, and is whole again after Redis lost it", async () => {
    const store = newStore();
    const first = await live(store);
    await first.books.quotas.create(quota("a"));
    await first.settled();
    await redis.kill9();
    await first.books.quotas.create(quota("b"));
    await vi.waitFor(() => expect(first.mirror.status.isConnected).toBe(false), WAIT);
    await end(first);
    await redis.restart();

    const second = await live(store);
    await second.settled();
    await second.books.quotas.create(quota("c"));
    await client.flushall();
    await second.books.quotas.create(quota("d"));
    await second.settled();
    await end(second);
    const third = await live(store);
    await third.settled();
    await end(third);
    const fourth = await live(newStore());
    const ids = fourth.books.quotas.all().map((kept) => kept.quota.quotaId);
    expect(ids).toEqual(["a", "b", "c", "d"]);
  });

  it("goes on in the local file while Redis is away, which counts at a start without it", async () => {
    const first = await live(newStore());
    await first.books.quotas.create(quota("a"));
    await first.settled();
    await redis.kill9();
    await first.books.quotas.create(quota("b"));
    await end(first);
    const second = await live(newStore());
    expect(second.books.quotas.all()).toHaveLength(2);
    await end(second);
    await redis.restart();
  });

  it("keeps what it has when the data directory was lost while it was away", async () => {
    const durable = await durableRedis();
    const first = await live(newStore(), directory, durable.url);
    for (const id of ["a", "b", "c"]) await first.books.quotas.create(quota(id));
    await first.settled();
    await end(first);
    await durable.kill9();
    const lost = newStore();
    const other = mkdtempSync(path.join(directory, "lost-"));
    const second = await live(lost, other, durable.url);
    await second.books.quotas.create(quota("a", { replica_count: 7 }));
    await durable.restart();
    await vi.waitFor(() => {
      expect(second.mirror.status.why).toMatch(/^it has the state of another store/);
    }, WAIT);
    await end(second);
    await end(await live(lost, other, durable.url));
    const empty = mkdtempSync(path.join(directory, "empty-"));
    const third = await live(newStore(), empty, durable.url);
    expect(third.books.quotas.all().map((kept) => kept.quota)).toMatchObject(
      ["a", "b", "c"].map((quotaId) => ({ quotaId, replicas: 0 })),
    );
    await end(third);
  });

  it("never takes an acknowledged write back from a copy that was put back while it was away", async () => {
    const durable = await durableRedis();
    const store = newStore();
    const replicasIn = ({ books }: Life) => books.quotas.get("q").quota.replicas;
    const begun = await live(store, directory, durable.url);
    await begun.books.quotas.create(quota("q", { replica_count: 1 }));
    await begun.settled();
    await end(begun);
    const older = newStore();
    await copyOf(store, older);
    const ahead = await live(store, directory, durable.url);
    for (const replicas of [2, 3, 4])
      await ahead.books.quotas.change("q", { replica_count: replicas });
    await ahead.settled();
    await end(ahead);
    await durable.kill9();
    const folder = mkdtempSync(path.join(directory, "older-"));
    const restored = await live(older, folder, durable.url);
    await restored.books.quotas.change("q", { replica_count: 77 });
    await durable.restart();
    await vi.waitFor(() => {
      expect(restored.mirror.status.why).toMatch(/^it has the state of another store/);
    }, WAIT);
    await end(restored);
    const again = await live(older, folder, durable.url);
    expect(replicasIn(again)).toBe(77);
    await end(again);
    // What was ahead goes on where it was, and a store that went on without its mirror is that one's still.
    await durable.kill9();
    const unseen = await live(store, directory, durable.url);
    await unseen.books.quotas.change("q", { replica_count: 5 });
    await durable.restart();
    await unseen.settled();
    await end(unseen);
    const empty = mkdtempSync(path.join(directory, "empty-"));
    expect(replicasIn(await live(newStore(), empty, durable.url))).toBe(5);
  });

  it("removes what was removed while it was away, after a restart without it, too", async () => {
    const durable = await durableRedis();
    const store = newStore();
    const first = await live(store, directory, durable.url);
    for (const id of ["keep", "gone"]) await first.books.quotas.create(quota(id));
    await first.settled();
    await durable.kill9();
    await first.books.quotas.remove("gone");
    await end(first);
    const second = await live(store, directory, durable.url);
    await durable.restart();
    await second.settled();
    await end(second);
    const empty = mkdtempSync(path.join(directory, "empty-"));
    const third = await live(newStore(), empty, durable.url);
    expect(third.books.quotas.all().map((kept) => kept.quota.quotaId)).toEqual(["keep"]);
    await end(third);
  });

  it("is waited for when it is away and it alone may have what was", async () => {
    const durable = await durableRedis();
    const first = await live(newStore(), directory, durable.url);
    await first.books.quotas.create(quota("a"));
    await first.settled();
    await end(first);
    await durable.kill9();
    const empty = mkdtempSync(path.join(directory, "empty-"));
    const second = live(newStore(), empty, durable.url);
    await sleep(2_500);
    await durable.restart();
    expect((await second).books.quotas.all()).toMatchObject([{ quota: { quotaId: "a" } }]);
    await end(await second);
  });

  it("is left alone by a store that has nothing to do with it, until its keys are gone", async () => {
    const first = await live(newStore());
    for (const id of ["a", "b", "c", "d", "e"]) await first.books.quotas.create(quota(id));
    await first.settled();
    await end(first);
    const other = newStore();
    const alone = await openScaling({ store: other });
    await alone.books.quotas.create(quota("x"));
    await alone.stop();
    const elsewhere = mkdtempSync(path.join(directory, "other-"));
    const second = await live(other, elsewhere);
    expect(second.books.quotas.all()).toMatchObject([{ quota: { quotaId: "x" } }]);
    await second.books.quotas.create(quota("a", { replica_count: 7 }));
    await vi.waitFor(() => {
      expect(second.mirror.status.why).toMatch(
        /^it has the state of another store, .*delete its keys/,
      );
    }, WAIT);
    await end(second);
    const former = await live(newStore(), mkdtempSync(path.join(directory, "former-")));
    expect(former.books.quotas.all().map((kept) => kept.quota)).toMatchObject(
      ["a", "b", "c", "d", "e"].map((quotaId) => ({ quotaId, replicas: 0 })),
    );
    await end(former);
    const again = await live(other, elsewhere);
    await client.flushall();
    await again.settled();
    await end(again);
    const third = await live(newStore(), mkdtempSync(path.join(directory, "third-")));
    expect(third.books.quotas.all()).toMatchObject([
      ...[{ quota: { quotaId: "a", replicas: 7 } }, { quota: { quotaId: "x" } }],
    ]);
  });

  it("is taken in full when the program is killed while it takes it", async () => {
    const first = await live(newStore());
    const many = Array.from({ length: 450 }, (_, id) => first.books.quotas.create(quota(`q${id}`)));
    await Promise.all(many);
    await first.settled();
    await end(first);
    for (const killedAt of [1, 2, 3, 4]) {
      const store = newStore();
      let writes = 0;
      const dying = withApply(store, async (batch) => {
        writes += 1;
        if (writes > killedAt) throw new Error("killed");
        return store.apply(batch);
      });
      await expect(live(dying)).rejects.toThrow("killed");
      const again = await live(store);
      expect(again.books.quotas.all()).toHaveLength(450);
      await end(again);
    }
  });

  /** Writes of a random kind; some are refused. */
  async function writeAtRandom({ books: { quotas }, ask }: Life, next: (most: number) => number) {
    for (let step = 0; step < 12; step += 1) {
      const id = `q${next(4)}`;
      const kinds = [
        () => quotas.create(quota(id)),
        () => quotas.remove(id),
        () => quotas.change(id, { replica_count: next(9) }),
        () => ask(`s-${id}`, next(9)),
      ];
      await kinds[next(kinds.length)]?.().catch(() => undefined);
    }
  }

  const stateOf = ({ books, scale }: Life) => ({
    quotas: books.quotas.all().map(({ quota: { quotaId, replicas } }) => [quotaId, replicas]),
    open: scale.open().map(({ uuid }) => uuid),
  });

  it("comes to what the store has, whatever is written and whenever the program ends", async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const next = seededRandom(seed);
      await client.flushall();
      const store = newStore();
      for (let round = 0; round < 3; round += 1) {
        const life = await live(store);
        await writeAtRandom(life, next);
        // An end at once leaves behind what is not mirrored yet.
        if (next(2) === 0) await life.settled();
        await end(life);
      }
      const whole = await live(store);
      // What was under way goes on at the start.
      await vi.waitFor(() => expect(whole.scale.open()).toEqual([]), WAIT);
      await whole.settled();
      const wanted = stateOf(whole);
      await end(whole);
      const restored = await live(newStore(), mkdtempSync(path.join(directory, "r-")));
      expect(stateOf(restored)).toEqual(wanted);
      await end(restored);
    }
  });
});

/** All that a store has of the org, in another one. */
async function copyOf(from: DocumentStore, to: DocumentStore): Promise<void> {
  const collections = [
    ...["org_state", "quotas", "subjects", "charges", "scaled_quotas", "scale_requests"],
    ...["workflows", "autoscale_settings", "guard_histories", "outbox"],
  ];
  for (const collection of collections) {
    for (const { id, body } of await from.list({ orgId: "default_org", collection })) {
      await to.apply([{ kind: "insert", key: { orgId: "default_org", collection, id }, body }]);
    }
  }
}
