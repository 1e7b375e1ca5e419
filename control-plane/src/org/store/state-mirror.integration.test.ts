import { setTimeout as sleep } from "node:timers/promises";
import { hasRedis } from "@berth/service-kit/testing/external-servers";
import { seededRandom } from "@berth/service-kit/testing/seeded-random";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { copyOf, type Life, MirroredLives, WAIT } from "../../testing/mirrored-lives.ts";
import { openScaling } from "../../testing/scaling-fixture.ts";

describe.skipIf(!hasRedis())("the mirror of an org's state", { timeout: 60_000 }, () => {
  let lives: MirroredLives;

  beforeAll(async () => {
    lives = await MirroredLives.start();
  });
  afterAll(() => lives.stop());
  beforeEach(() => lives.begin());
  afterEach(() => lives.clear());

  const quota = (id: string, more = {}) => ({ subject_id: `s-${id}`, quota_id: id, ...more });

  it("has what was written, and gives it to an empty store, what was under way too", async () => {
    const first = await lives.live(lives.newStore());
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
    await lives.end(first);

    const second = await lives.live(lives.newStore());
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
    const store = lives.newStore();
    const first = await lives.live(store);
    await first.books.quotas.create(quota("a", { replica_count: 1 }));
    await first.books.quotas.create(quota("b"));
    const asked = await first.ask("s-a", 5, { approvalWithinMs: 600_000 });
    await first.settled();
    const copy = lives.newStore();
    await copyOf(store, copy);
    await first.books.quotas.remove("b");
    await first.books.quotas.create(quota("c"));
    await first.scaling.decide(asked.uuid, false, "me");
    await first.settled();
    await lives.end(first);

    const second = await lives.live(copy);
    expect(second.books.quotas.all().map((kept) => kept.quota.quotaId)).toEqual(["a", "c"]);
    expect(second.scale.open()).toEqual([]);
  });

  it("gives way to a store that is newer, and is whole again after Redis lost it", async () => {
    const store = lives.newStore();
    const first = await lives.live(store);
    await first.books.quotas.create(quota("a"));
    await first.settled();
    await lives.redis.kill9();
    await first.books.quotas.create(quota("b"));
    await vi.waitFor(() => expect(first.mirror.status.isConnected).toBe(false), WAIT);
    await lives.end(first);
    await lives.redis.restart();

    const second = await lives.live(store);
    await second.settled();
    await second.books.quotas.create(quota("c"));
    await lives.client.flushall();
    await second.books.quotas.create(quota("d"));
    await second.settled();
    await lives.end(second);
    const third = await lives.live(store);
    await third.settled();
    await lives.end(third);
    const fourth = await lives.live(lives.newStore());
    const ids = fourth.books.quotas.all().map((kept) => kept.quota.quotaId);
    expect(ids).toEqual(["a", "b", "c", "d"]);
  });

  it("goes on in the local file while Redis is away, which counts at a start without it", async () => {
    const first = await lives.live(lives.newStore());
    await first.books.quotas.create(quota("a"));
    await first.settled();
    await lives.redis.kill9();
    await first.books.quotas.create(quota("b"));
    await lives.end(first);
    const second = await lives.live(lives.newStore());
    expect(second.books.quotas.all()).toHaveLength(2);
    await lives.end(second);
    await lives.redis.restart();
  });

  it("keeps what it has when the data directory was lost while it was away", async () => {
    const durable = await lives.durableRedis();
    const first = await lives.live(lives.newStore(), lives.directory, durable.url);
    for (const id of ["a", "b", "c"]) await first.books.quotas.create(quota(id));
    await first.settled();
    await lives.end(first);
    await durable.kill9();
    const lost = lives.newStore();
    const other = lives.newFolder();
    const second = await lives.live(lost, other, durable.url);
    await second.books.quotas.create(quota("a", { replica_count: 7 }));
    await durable.restart();
    await vi.waitFor(() => {
      expect(second.mirror.status.why).toMatch(/^it has the state of another store/);
    }, WAIT);
    await lives.end(second);
    await lives.end(await lives.live(lost, other, durable.url));
    const empty = lives.newFolder();
    const third = await lives.live(lives.newStore(), empty, durable.url);
    expect(third.books.quotas.all().map((kept) => kept.quota)).toMatchObject(
      ["a", "b", "c"].map((quotaId) => ({ quotaId, replicas: 0 })),
    );
    await lives.end(third);
  });

  it("never takes an acknowledged write back from a copy that was put back while it was away", async () => {
    const durable = await lives.durableRedis();
    const store = lives.newStore();
    const replicasIn = ({ books }: Life) => books.quotas.get("q").quota.replicas;
    const begun = await lives.live(store, lives.directory, durable.url);
    await begun.books.quotas.create(quota("q", { replica_count: 1 }));
    await begun.settled();
    await lives.end(begun);
    const older = lives.newStore();
    await copyOf(store, older);
    const ahead = await lives.live(store, lives.directory, durable.url);
    for (const replicas of [2, 3, 4])
      await ahead.books.quotas.change("q", { replica_count: replicas });
    await ahead.books.quotas.create(quota("others"));
    await ahead.settled();
    await lives.end(ahead);
    await durable.kill9();
    const folder = lives.newFolder();
    const restored = await lives.live(older, folder, durable.url);
    await restored.books.quotas.change("q", { replica_count: 77 });
    await restored.books.quotas.create(quota("mine"));
    await durable.restart();
    await vi.waitFor(() => {
      expect(restored.mirror.status.why).toMatch(/^it has the state of another store/);
    }, WAIT);
    await lives.end(restored);
    const again = await lives.live(older, folder, durable.url);
    expect(replicasIn(again)).toBe(77);
    await lives.end(again);
    // Two histories are never mixed: of a store that is lost the copy of its machine counts, as a whole.
    const lost = await lives.live(lives.newStore(), folder, durable.url);
    const quotas = lost.books.quotas.all().map((kept) => [kept.quota.quotaId, kept.quota.replicas]);
    expect(quotas).toEqual([
      ["mine", 0],
      ["q", 77],
    ]);
    await vi.waitFor(() => expect(lost.mirror.status.why).toMatch(/state of another store/), WAIT);
    await lives.end(lost);
    // What was ahead goes on where it was, and a store that went on without its mirror is that one's still.
    await durable.kill9();
    const unseen = await lives.live(store, lives.directory, durable.url);
    await unseen.books.quotas.change("q", { replica_count: 5 });
    await durable.restart();
    await unseen.settled();
    await lives.end(unseen);
    const empty = lives.newFolder();
    expect(replicasIn(await lives.live(lives.newStore(), empty, durable.url))).toBe(5);
  });

  it("removes what was removed while it was away, after a restart without it, too", async () => {
    const durable = await lives.durableRedis();
    const store = lives.newStore();
    const first = await lives.live(store, lives.directory, durable.url);
    for (const id of ["keep", "gone"]) await first.books.quotas.create(quota(id));
    await first.settled();
    await durable.kill9();
    await first.books.quotas.remove("gone");
    await lives.end(first);
    const second = await lives.live(store, lives.directory, durable.url);
    await durable.restart();
    await second.settled();
    await lives.end(second);
    const empty = lives.newFolder();
    const third = await lives.live(lives.newStore(), empty, durable.url);
    expect(third.books.quotas.all().map((kept) => kept.quota.quotaId)).toEqual(["keep"]);
    await lives.end(third);
  });

  it("is waited for when it is away and it alone may have what was", async () => {
    const durable = await lives.durableRedis();
    const first = await lives.live(lives.newStore(), lives.directory, durable.url);
    await first.books.quotas.create(quota("a"));
    await first.settled();
    await lives.end(first);
    await durable.kill9();
    const empty = lives.newFolder();
    const second = lives.live(lives.newStore(), empty, durable.url);
    await sleep(2_500);
    await durable.restart();
    expect((await second).books.quotas.all()).toMatchObject([{ quota: { quotaId: "a" } }]);
    await lives.end(await second);
  });

  it("is left alone by a store that has nothing to do with it, until its keys are gone", async () => {
    const first = await lives.live(lives.newStore());
    for (const id of ["a", "b", "c", "d", "e"]) await first.books.quotas.create(quota(id));
    await first.settled();
    await lives.end(first);
    const other = lives.newStore();
    const alone = await openScaling({ store: other });
    await alone.books.quotas.create(quota("x"));
    await alone.stop();
    const elsewhere = lives.newFolder();
    const second = await lives.live(other, elsewhere);
    expect(second.books.quotas.all()).toMatchObject([{ quota: { quotaId: "x" } }]);
    await second.books.quotas.create(quota("a", { replica_count: 7 }));
    await vi.waitFor(() => {
      expect(second.mirror.status.why).toMatch(
        /^it has the state of another store, .*delete its keys/,
      );
    }, WAIT);
    await lives.end(second);
    const former = await lives.live(lives.newStore(), lives.newFolder());
    expect(former.books.quotas.all().map((kept) => kept.quota)).toMatchObject(
      ["a", "b", "c", "d", "e"].map((quotaId) => ({ quotaId, replicas: 0 })),
    );
    await lives.end(former);
    const again = await lives.live(other, elsewhere);
    await lives.client.flushall();
    await again.settled();
    await lives.end(again);
    const third = await lives.live(lives.newStore(), lives.newFolder());
    expect(third.books.quotas.all()).toMatchObject([
      ...[{ quota: { quotaId: "a", replicas: 7 } }, { quota: { quotaId: "x" } }],
    ]);
  });

  it("gives what it has when it lacks something, or has what is none", async () => {
    const first = await lives.live(lives.newStore());
    await first.books.quotas.create(quota("org", { nominal: { F: 8 } }));
    for (const id of ["a", "b"]) {
      const nominal = { nominal: { F: 4 }, limit: { F: 4 } };
      await first.books.quotas.create(quota(id, { parent_id: "org", ...nominal }));
    }
    await first.settled();
    await lives.end(first);
    await lives.client.del("berth:default_org:quotas/org");
    await lives.client.hset("berth:default_org:quotas/b", "body", '{"id":"b","body":5}');
    const store = lives.newStore();
    const left = await lives.live(store, lives.newFolder());
    const { quotas } = left.books;
    expect(quotas.all().map((kept) => kept.quota.quotaId)).toEqual(["a"]);
    await expect(quotas.change("a", { replica_count: 1 })).rejects.toThrow('no quota "org"');
    await quotas.create(quota("org", { nominal: { F: 8 } }));
    expect(await quotas.change("a", { replica_count: 1 })).toMatchObject({ revision: 2 });
    await left.settled();
    await lives.end(left);
    const again = await lives.live(store);
    expect(again.books.quotas.all()).toHaveLength(2);
  });

  it("is taken in full when the program is killed while it takes it", async () => {
    const first = await lives.live(lives.newStore());
    const many = Array.from({ length: 450 }, (_, id) => first.books.quotas.create(quota(`q${id}`)));
    await Promise.all(many);
    await first.settled();
    await lives.end(first);
    for (const killedAt of [1, 2, 3, 4]) {
      const store = lives.newStore();
      let writes = 0;
      const dying = withApply(store, async (batch) => {
        writes += 1;
        if (writes > killedAt) throw new Error("killed");
        return store.apply(batch);
      });
      await expect(lives.live(dying)).rejects.toThrow("killed");
      const again = await lives.live(store);
      expect(again.books.quotas.all()).toHaveLength(450);
      await lives.end(again);
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
      await lives.client.flushall();
      const store = lives.newStore();
      for (let round = 0; round < 3; round += 1) {
        const life = await lives.live(store);
        await writeAtRandom(life, next);
        // An end at once leaves behind what is not mirrored yet.
        if (next(2) === 0) await life.settled();
        await lives.end(life);
      }
      const whole = await lives.live(store);
      // What was under way goes on at the start.
      await vi.waitFor(() => expect(whole.scale.open()).toEqual([]), WAIT);
      await whole.settled();
      const wanted = stateOf(whole);
      await lives.end(whole);
      const restored = await lives.live(lives.newStore(), lives.newFolder());
      expect(stateOf(restored)).toEqual(wanted);
      await lives.end(restored);
    }
  });
});
