import { setTimeout as delay } from "node:timers/promises";
import {
  type DocumentStore,
  isBerthError,
  openSqliteDocumentStore,
  silentLogger,
} from "@berth/service-kit";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { ClusterBlocks, FleetBlocks } from "../../fleet/agent-api.ts";
import { BlockCharges, type ChargedBlock } from "../../org/charges/block-charges.ts";
import { HoldCharges } from "../../org/charges/hold-charges.ts";
import type { LeaseRoom } from "../../org/charges/lease-room.ts";
import { type OrgBooks, openOrgBooks } from "../../org/org-books.ts";
import { profileOf } from "../../org/profiles/quota-owners.ts";
import { KeptDocuments } from "../../org/store/kept-documents.ts";
import { fleetOf, viewOf } from "../../testing/fleet-views.ts";
import { clusterBlocks } from "../../testing/org-fixture.ts";
import { Fulfilment } from "./fulfilment.ts";
import { openQuotaOf, ScaleBook } from "./scale-book.ts";
import { ScaleListeners } from "./scale-listeners.ts";
import type { ScaleRequest } from "./scale-request.ts";
import { Scaling } from "./scaling.ts";

const QUOTAS = ["a", "b"] as const;
/** What instances of the block and leases cost where prices do not change. */
const PRICE = 1;
const MILLI = 1_000;
const few = fc.integer({ min: 0, max: 5 });
const some = fc.integer({ min: 1, max: 4 });
const step = fc.oneof(
  fc.record({ do: fc.constant("limit" as const), quota: fc.constantFrom(...QUOTAS), gpus: few }),
  fc.record({ do: fc.constant("price" as const), quota: fc.constantFrom(...QUOTAS), gpus: some }),
  fc.record({ do: fc.constant("name" as const), isNamed: fc.boolean() }),
  fc.record({ do: fc.constant("hold" as const), quota: fc.constantFrom(...QUOTAS), gpus: some }),
  fc.record({ do: fc.constant("release" as const), which: few }),
  fc.record({ do: fc.constant("add" as const), count: some, leases: few }),
  fc.record({
    do: fc.constant("answer" as const),
    which: few,
    isMade: fc.boolean(),
    isHeard: fc.nat(3).map((chance) => chance > 0),
  }),
  fc.record({ do: fc.constant("ask" as const), quota: fc.constantFrom(...QUOTAS), replicas: few }),
  fc.record({
    do: fc.constant("confirm" as const),
    quota: fc.constantFrom(...QUOTAS),
    share: fc.constantFrom(0, 0.5, 1, undefined),
  }),
  fc.record({ do: fc.constant("end" as const), count: some }),
  fc.record({ do: fc.constantFrom("wait" as const, "restart" as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** An operation on the block that its cluster has not answered. */
interface Adding {
  readonly block: ChargedBlock;
  readonly rooms: readonly LeaseRoom[];
  readonly leases: readonly string[];
  /** The program that has sent it was killed. */
  isLost: boolean;
}

/** One cluster with a block whose instances are the replicas of quota "a", and leases; the replicas of "b" are places. */
class World {
  readonly store = openSqliteDocumentStore(":memory:", {
    nowMs: () => this.nowMs,
    timestamp: () => new Date(this.nowMs).toISOString(),
  });
  nowMs = Date.UTC(2026, 0, 1);
  instances = 0;
  places = 0;
  readonly leases = new Map<string, { readonly quotaId: string; readonly gpus: number }>();
  readonly adding: Adding[] = [];
  #count = 0;
  #life = 0;
  books!: OrgBooks;
  blocks!: BlockCharges;
  holds!: HoldCharges;
  scaling!: Scaling;
  fulfilment!: Fulfilment;
  scale!: ScaleBook;

  /** The program begins, with what the store has. */
  async open(): Promise<this> {
    const store = this.#ownStore();
    for (const one of this.adding) one.isLost = true;
    // What the store took before the kill is there.
    await delay(1);
    const orgId = "default_org";
    const clock = { nowMs: () => this.nowMs, timestamp: () => new Date(this.nowMs).toISOString() };
    const logger = silentLogger;
    this.books = await openOrgBooks({ store, orgId, clock, logger });
    const { books } = this;
    const told = (): ClusterBlocks => ({
      ...clusterBlocks("m", { x: { ready: this.instances, instances: this.instances } }),
      operations: new Map(
        this.adding.map(({ block }) => [
          block.operationId,
          { operation_id: block.operationId, block_id: "x", state: "running" } as never,
        ]),
      ),
      leases: [...this.leases.keys()].map((id) => ({ lease_id: id }) as never),
    });
    const blocks: FleetBlocks = {
      of: () => told(),
      all: () => [told()],
      withBlock: (id) => (id === "x" ? [told()] : []),
      onChange: () => () => undefined,
    };
    const isUnderway = () => false;
    this.blocks = new BlockCharges({ books, blocks, unheard: () => [], isUnderway, clock, logger });
    this.holds = new HoldCharges({
      ...{ books, blocks, clock, logger, unheard: async () => [] },
      snapshot: async () => fleetOf(viewOf("m", [])),
    });
    this.scale = new ScaleBook({
      requests: new KeptDocuments<ScaleRequest>({
        ...{ store, orgId, collection: "scale_requests", groupOf: openQuotaOf },
      }),
      quotas: new KeptDocuments({ store, orgId, collection: "scaled_quotas" }),
      outbox: new KeptDocuments({ store, orgId, collection: "outbox" }),
    });
    books.transactions.add(this.scale);
    await this.scale.reload();
    const about = { orgId, books, scale: this.scale, clock, listeners: new ScaleListeners() };
    this.scaling = new Scaling({ ...about, reasonAgainst: () => undefined });
    this.fulfilment = new Fulfilment({ ...about, isExternal: false });
    return this;
  }

  /** The store as the program has it until it is killed. */
  #ownStore(): DocumentStore {
    this.#life += 1;
    const life = this.#life;
    return new Proxy(this.store, {
      get: (store, name) => {
        if (name === "apply" && life !== this.#life)
          return () => Promise.reject(new Error("killed"));
        const member: unknown = Reflect.get(store, name, store);
        return typeof member === "function" ? member.bind(store) : member;
      },
    });
  }

  /** The quotas that there are at first. */
  async begin(): Promise<this> {
    const { books } = await this.open();
    await books.quotas.create({ quota_id: "team", nominal: { F: 8 } });
    const own = (id: string, profile: object) =>
      books.quotas.create({
        ...{ quota_id: id, subject_id: id, parent_id: "team", limit: { F: 5 } },
        allocation_info: { ...profile, gpus_per_replica: { F: PRICE } },
      });
    await own("a", { block_id: "x" });
    await own("b", {});
    return this;
  }

  /** Takes a step; what is refused changes nothing. */
  async take(one: Step): Promise<void> {
    try {
      await this.#take(one);
    } catch (thrown) {
      if (!isBerthError(thrown)) throw thrown;
    }
    await this.blocks.look();
    await this.holds.look();
  }

  async #take(one: Step): Promise<unknown> {
    const { quotas } = this.books;
    if (one.do === "limit") return quotas.change(one.quota, { limit: { F: one.gpus } });
    if (one.do === "price") return this.#profile(one.quota, one.gpus, true);
    if (one.do === "name") return this.#profile("a", PRICE, one.isNamed);
    if (one.do === "hold") return this.#hold(one.quota, one.gpus);
    if (one.do === "release") return this.#release(one.which);
    if (one.do === "add") return this.#add(one.count, one.leases);
    if (one.do === "answer") return this.#answer(one);
    if (one.do === "ask") {
      const asked = { subjectId: one.quota, replicas: one.replicas, reason: "test" };
      return this.scaling.request({ ...asked, origin: "adhoc" });
    }
    if (one.do === "confirm") return this.#confirm(one.quota, one.share);
    if (one.do === "end") this.instances = Math.max(0, this.instances - one.count);
    if (one.do === "wait") this.nowMs += 31_000;
    if (one.do === "restart") await this.open();
    return undefined;
  }

  #profile(quotaId: string, gpus: number, isNamed: boolean) {
    const block = quotaId === "a" && isNamed ? { block_id: "x" } : {};
    const allocation_info = { ...block, gpus_per_replica: { F: gpus } };
    return this.books.quotas.change(quotaId, { allocation_info });
  }

  async #hold(quotaId: string, gpus: number): Promise<void> {
    this.#count += 1;
    const place = { leaseId: `m:${this.#count}`, clusterId: "m", gpus: { F: gpus * MILLI } };
    if ((await this.holds.take(quotaId, [place])) !== undefined) return;
    this.leases.set(place.leaseId, { quotaId, gpus });
  }

  async #release(which: number): Promise<void> {
    const leaseId = [...this.leases.keys()][which];
    if (leaseId === undefined) return;
    this.leases.delete(leaseId);
    await this.holds.end([leaseId]);
  }

  async #add(added: number, count: number): Promise<void> {
    this.#count += 1;
    const leases = [...this.leases.keys()].slice(0, count);
    const block = { blockId: "x", clusterId: "m", operationId: `o${this.#count}`, added };
    const rooms = await this.blocks.charge({ ...block, leaseIds: leases });
    this.adding.push({ block, rooms, leases, isLost: false });
  }

  /** The cluster makes all or nothing; the leases must be there still. */
  async #answer(one: { which: number; isMade: boolean; isHeard: boolean }): Promise<void> {
    const [answered] = this.adding.splice(one.which, 1);
    if (answered === undefined) return;
    const { block, rooms, leases, isLost } = answered;
    const isMade = one.isMade && leases.every((id) => this.leases.has(id));
    if (isMade) {
      this.instances += block.added ?? 0;
      for (const id of leases) this.leases.delete(id);
    }
    if (isLost) return;
    const end = isMade ? "made" : "failed";
    await this.blocks.settle(block, one.isHeard ? end : "unknown", rooms);
  }

  /** The applier brings the replicas a part of the way, and tells how many there are. */
  async #confirm(quotaId: string, asked: number | undefined): Promise<void> {
    const isBlock = profileOf(this.books.quotas.planned("a").quota).blockId !== undefined;
    const share = quotaId === "a" && !isBlock ? undefined : asked;
    const [request] = this.scale.open(quotaId);
    if (request === undefined) return;
    const { uuid, replicas: wanted } = request;
    await this.fulfilment.dispatch(uuid);
    const there = quotaId === "a" ? this.instances : this.places;
    const replicas = there + Math.trunc((wanted - there) * (share ?? 0));
    if (share !== undefined && quotaId === "a") this.instances = replicas;
    if (share !== undefined && quotaId === "b") this.places = replicas;
    const response =
      share === undefined ? { status: "failed", message: "no" } : { status: "allocated", replicas };
    await this.fulfilment.confirm(uuid, { subject: "x", text: "", id: uuid }, { response });
    await this.fulfilment.complete({ uuid, response, message: { uuid, response } });
  }

  /** What does not hold: what is counted as used beyond what may be, and what is used and not counted. */
  broken(isPriceFixed: boolean): readonly string[] {
    const { tree } = this.books.quotas;
    const used = (quotaId: string) => (tree.usedBy(quotaId).F ?? 0) / MILLI;
    const limit = (quotaId: string) =>
      (this.books.quotas.planned(quotaId).quota.limit?.F ?? 0) / MILLI;
    const held = (quotaId: string) =>
      [...this.leases.values()].reduce(
        (sum, lease) => sum + (lease.quotaId === quotaId ? lease.gpus : 0),
        0,
      );
    const real = { a: held("a") + this.instances, b: held("b") + this.places };
    return [
      used("team") > 8 ? `team uses ${used("team")} of 8` : "",
      ...QUOTAS.map((id) => (used(id) > limit(id) ? `${id} uses ${used(id)} of ${limit(id)}` : "")),
      ...QUOTAS.map((id) =>
        isPriceFixed && real[id] > used(id) ? `${id} is charged ${used(id)} for ${real[id]}` : "",
      ),
    ].filter((text) => text !== "");
  }
}

/** Takes steps, those of a group at the same time. */
async function holds(steps: readonly (readonly Step[])[], isPriceFixed: boolean): Promise<void> {
  const world = await new World().begin();
  for (const group of steps) {
    const [waits, others] = [true, false].map((isWait) =>
      group.filter((one) => (one.do === "wait" || one.do === "restart") === isWait),
    );
    await Promise.all((others ?? []).map((one) => world.take(one)));
    for (const one of waits ?? []) await world.take(one);
    expect(world.broken(isPriceFixed)).toEqual([]);
  }
  await world.store.close();
}

const groupsOf = (one: typeof step) =>
  fc.array(fc.array(one, { minLength: 1, maxLength: 3 }), {
    ...{ minLength: 10, maxLength: 40, size: "max" },
  });
const RUNS = Number(process.env.BERTH_CHARGE_RUNS ?? 300);

it("uses no more than its bounds, and is charged for all that there is, whatever is done at a time", async () => {
  const fixed = step.filter((one) => one.do !== "price" && one.do !== "name");
  const steps = groupsOf(fixed);
  await fc.assert(
    fc.asyncProperty(steps, (all) => holds(all, true)),
    { numRuns: RUNS },
  );
});

it("uses no more than its bounds while prices change", async () => {
  const steps = groupsOf(step);
  await fc.assert(
    fc.asyncProperty(steps, (all) => holds(all, false)),
    { numRuns: RUNS },
  );
});
