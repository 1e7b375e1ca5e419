import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DocumentStore,
  isBerthError,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  claimOf,
  GPU_MIB,
  gpuCapacity,
  HandBootClock,
  nodeCapacity,
  purposeOf,
  UnreliableStore,
  type WriteFault,
} from "../testing/ledger.ts";
import type { Claim, Hold, NodeCapacity } from "./claim.ts";
import { type Ledger, openLedger } from "./ledger.ts";

const NODES = ["n0", "n1", "n2"] as const;
const RULES = {
  minTtlMs: 1_000,
  maxTtlMs: 10_000,
  maxRenewals: 2,
  maxLeasesPerSubject: 3,
  maxLeases: 6,
};

const nodeId = fc.constantFrom(...NODES);
const device = fc.oneof(
  { weight: 3, arbitrary: fc.nat(3).map((slot) => ({ name: `g${slot}` })) },
  { weight: 2, arbitrary: fc.nat(1).map((part) => ({ name: `m${part}` })) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(3), fc.constantFrom(20, 30, 50)).map(([slot, memoryMiB]) => ({
      name: `g${slot}`,
      memoryMiB,
    })),
  },
);
const claim = fc
  .tuple(
    nodeId,
    fc.uniqueArray(device, { selector: ({ name }) => name, minLength: 0, maxLength: 2 }),
    fc.constantFrom(0, 1_000, 5_000),
  )
  .map(([node, devices, cpuMillis]): Claim => {
    const named = devices.map(({ name, ...part }) => ({ uuid: `${node}-${name}`, ...part }));
    return claimOf(node, named, { cpuMillis });
  });
const allocationId = fc.nat(11).map((n) => `a${n}`);
const leaseId = fc.nat(7).map((n) => `l${n}`);
const subject = fc.constantFrom("s1", "s2");
const ttlMs = fc.constantFrom(1_000, 5_000);

const op = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("take" as const), id: allocationId, claim }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("takeTwo" as const),
      ids: fc.uniqueArray(allocationId, { minLength: 2, maxLength: 2 }),
      claims: fc.tuple(claim, claim),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("takeLease" as const), id: allocationId, leaseId }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("lease" as const), id: leaseId, claim, subject, ttlMs }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("renew" as const), id: leaseId, ttlMs }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), id: leaseId }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("free" as const), id: allocationId }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("quarantine" as const), id: allocationId }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("confirm" as const), id: allocationId }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

const fault = fc.oneof(
  { weight: 8, arbitrary: fc.constant<WriteFault>("none") },
  { weight: 1, arbitrary: fc.constant<WriteFault>("before") },
  { weight: 1, arbitrary: fc.constant<WriteFault>("after") },
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("batch" as const),
      ops: fc.array(op, { minLength: 1, maxLength: 12 }),
      faults: fc.oneof(
        { weight: 2, arbitrary: fc.constant<WriteFault[]>([]) },
        { weight: 1, arbitrary: fc.array(fault, { maxLength: 12 }) },
      ),
      /** The process ends at this write of the batch. */
      crashAt: fc.option(fc.nat(6), { freq: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("pass" as const),
      ms: fc.constantFrom(400, 2_000, 6_000),
      sweeps: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("reopen" as const), boots: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("capacity" as const),
      node: nodeId,
      state: fc.constantFrom("whole", "cut off", "cordoned", "sick", "small", "unmixed"),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function capacityIn(id: string, state: string): NodeCapacity {
  const gpus = nodeCapacity(id).gpus;
  switch (state) {
    case "cut off":
      return nodeCapacity(id, { gpus: gpus.slice(1) });
    case "cordoned":
      return nodeCapacity(id, { refusal: "cordoned" });
    case "sick":
      return nodeCapacity(id, { gpus: gpus.map((gpu) => ({ ...gpu, refusal: "XID 79" })) });
    case "small":
      return nodeCapacity(id, { cpuMillis: 3_000 });
    case "unmixed":
      // MIG was turned off: the last GPU is whole again.
      return nodeCapacity(id, { gpus: [...gpus.slice(0, 3), gpuCapacity(`${id}-g3`, 3)] });
    default:
      return nodeCapacity(id);
  }
}

/** GPU below a device of the tests: its MIG devices are cut from g3. */
const gpuOf = (uuid: string) => uuid.replace(/-m\d$/, "-g3");

/** No device is held by two beyond what it has. Written without the ledger's own code. */
function expectNoDouble(holds: readonly Hold[]): void {
  const shares = holds.flatMap(({ id, claim: { devices } }) =>
    devices.map(({ uuid, memoryMiB }) => ({ id, uuid, memoryMiB })),
  );
  for (const [gpu, all] of Map.groupBy(shares, ({ uuid }) => gpuOf(uuid))) {
    const parts = all.filter(({ uuid }) => uuid !== gpu);
    const own = all.filter(({ uuid }) => uuid === gpu);
    const whole = own.filter(({ memoryMiB }) => memoryMiB === undefined);
    if (whole.length > 0) expect(all, `${gpu} is held whole`).toHaveLength(1);
    if (own.length > 0) expect(parts, `${gpu} is held, and parts of it`).toEqual([]);
    const takenMiB = own.reduce((sum, { memoryMiB = 0 }) => sum + memoryMiB, 0);
    expect(takenMiB, `memory of ${gpu}`).toBeLessThanOrEqual(GPU_MIB);
    const uuids = parts.map(({ uuid }) => uuid);
    expect(new Set(uuids).size, `parts of ${gpu}`).toBe(uuids.length);
  }
}

interface Seen {
  readonly before: ReadonlyMap<string, Hold>;
  readonly stored: ReadonlyMap<string, Hold>;
  /** Ids that other questions of the batch named. */
  readonly others: readonly string[];
}

type Answer = { kind: string } | "unavailable";

class Run {
  readonly #behind: DocumentStore;
  readonly #orgId: string;
  readonly #bootClock = new HandBootClock();
  readonly #capacity = new Map<string, NodeCapacity>();
  #store: UnreliableStore;
  #ledger: Ledger | undefined;
  #boots = 1;
  #lastRevision = 0n;
  #opened = 0n;
  /** Holds that the store is known to have; what the model says. */
  #known = new Map<string, Hold>();

  constructor(behind: DocumentStore, orgId: string) {
    this.#behind = behind;
    this.#orgId = orgId;
    this.#store = new UnreliableStore(behind);
    for (const id of NODES) this.#capacity.set(id, nodeCapacity(id));
  }

  get ledger(): Ledger {
    if (this.#ledger === undefined) throw new Error("not open");
    return this.#ledger;
  }

  async open(): Promise<void> {
    this.#store = new UnreliableStore(this.#behind);
    this.#opened += 1n;
    this.#ledger = await openLedger({
      store: this.#store,
      orgId: this.#orgId,
      clock: systemClock,
      bootClock: this.#bootClock,
      logger: silentLogger,
      rules: RULES,
      capacity: (id) => this.#capacity.get(id),
      revisionBase: this.#opened << 40n,
    });
    expect((await this.ledger.take([])).kind).toBe("refused");
    const before = this.ledger.status.generation;
    const report = await this.ledger.reconcile(this.#running());
    expect(report).toMatchObject({ adopted: [], changed: [], conflicts: [] });
    expect(this.ledger.status).toMatchObject({ state: "open", generation: before });
  }

  async stored(): Promise<Map<string, Hold>> {
    const documents = await this.#behind.list<{ holds: Hold[] }>({
      orgId: this.#orgId,
      collection: "ledger_nodes",
    });
    const holds = documents.flatMap(({ id, body }) => {
      expect(body.holds.length, `document of ${id}`).toBeGreaterThan(0);
      for (const hold of body.holds) expect(hold.claim.nodeId).toBe(id);
      return body.holds;
    });
    const ids = holds.map(({ id }) => id);
    expect(new Set(ids).size, "ids are unique").toBe(ids.length);
    return new Map(holds.map((hold) => [hold.id, hold]));
  }

  async step(given: Step): Promise<void> {
    if (given.kind === "capacity") {
      this.#capacity.set(given.node, capacityIn(given.node, given.state));
    } else if (given.kind === "reopen") {
      if (given.boots) this.#bootClock.reboot(`boot-${++this.#boots}`);
      await this.open();
    } else if (given.kind === "pass") {
      this.#bootClock.advance(given.ms);
      if (given.sweeps) {
        const swept = await this.ledger.sweep();
        for (const { id } of swept) this.#known.delete(id);
        const voids = this.ledger.leases().filter((lease) => lease.void !== undefined);
        expect(voids, "a sweep leaves no void lease").toEqual([]);
      }
    } else {
      await this.#batch(given);
    }
    // Without a sweep the next batch meets leases that have ended and are still there.
    await this.#check(given.kind !== "pass" || given.sweeps);
  }

  async #batch({ ops, faults, crashAt }: Extract<Step, { kind: "batch" }>): Promise<void> {
    let writes = 0;
    this.#store.fault = () => {
      const at = writes;
      writes += 1;
      return crashAt !== null && at >= crashAt ? "before" : (faults[at] ?? "none");
    };
    const before = new Map(this.#known);
    // All in one turn of the event loop.
    const answers = await Promise.all(ops.map((each) => this.#ask(each)));
    this.#store.fault = () => "none";
    const stored = await this.stored();
    ops.forEach((each, at) => {
      const others = ops.filter((_, other) => other !== at).flatMap(idsOf);
      this.#believe(each, answers[at] ?? "unavailable", { before, stored, others });
    });
    this.#keepsOthers(ops, before, stored);
    this.#fits(ops, answers, stored);
    this.#known = stored;
    if (crashAt !== null && writes > crashAt) await this.open();
  }

  async #ask(asked: Op): Promise<Answer> {
    try {
      return await this.#do(asked);
    } catch (thrown) {
      if (isBerthError(thrown) && thrown.reason === "UNAVAILABLE") return "unavailable";
      throw thrown;
    }
  }

  async #do(asked: Op): Promise<{ kind: string }> {
    const { ledger } = this;
    switch (asked.do) {
      case "take":
        return ledger.take([this.#request(asked.id, asked.claim)]);
      case "takeTwo":
        return ledger.take(
          asked.ids.map((id, at) => this.#request(id, asked.claims[at] ?? asked.claims[0])),
        );
      case "takeLease": {
        const { id, leaseId: lease } = asked;
        const claimed = this.#known.get(lease)?.claim ?? claimOf("n0");
        return ledger.take([{ ...this.#request(id, claimed), lease: { leaseId: lease } }]);
      }
      case "lease": {
        const { id, ...rest } = asked;
        return ledger.lease({ leaseId: id, storeId: "", ...rest });
      }
      case "renew":
        return ledger.renew({ leaseId: asked.id, ttlMs: asked.ttlMs });
      case "release":
        return ledger.release({ leaseId: asked.id });
      case "free":
        return ledger.free(asked.id);
      case "quarantine":
        return ledger.quarantine(asked.id, "nobody hears of it");
      case "confirm":
        return ledger.confirm(asked.id);
    }
  }

  #request(id: string, claimed: Claim) {
    return { allocationId: id, claim: claimed, purpose: purposeOf(id) };
  }

  /** What an answer promises of the store, unless others of the same batch spoke of the same ids. */
  #believe(asked: Op, answer: Answer, seen: Seen): void {
    if (answer === "unavailable" || idsOf(asked).some((id) => seen.others.includes(id))) return;
    const { before, stored } = seen;
    const is = answer.kind;
    const say = JSON.stringify({ asked, answer });
    const kinds = idsOf(asked).map((id) => stored.get(id)?.kind);
    if (is === "refused") {
      // A void lease may be struck out for something else of its node.
      const isNews = idsOf(asked).filter((id) => stored.has(id) && !before.has(id));
      expect(isNews, say).toEqual([]);
      return;
    }
    const expected: Record<Op["do"], readonly (string | undefined)[]> = {
      take: ["allocation"],
      takeTwo: ["allocation", "allocation"],
      // One that was there already leaves the lease alone.
      takeLease: ["allocation", before.has(idsOf(asked)[0] ?? "") ? kinds[1] : undefined],
      lease: ["lease"],
      renew: ["lease"],
      release: [undefined],
      free: [undefined],
      quarantine: ["allocation"],
      confirm: ["allocation"],
    };
    expect(kinds, say).toEqual(expected[asked.do]);
  }

  /** What nobody has spoken of is as it was, but for leases that have ended. */
  #keepsOthers(ops: readonly Op[], before: Map<string, Hold>, stored: Map<string, Hold>): void {
    const named = new Set(ops.flatMap(idsOf));
    const freed = new Set(ops.flatMap((each) => (each.do === "free" ? [each.id] : [])));
    for (const [id, hold] of before) {
      if (hold.kind === "allocation") {
        if (!freed.has(id)) expect(stored.get(id)?.claim, id).toEqual(hold.claim);
        if (!named.has(id)) expect(stored.get(id), id).toEqual(hold);
      } else {
        const isVoid = hold.endsAtBootMs <= this.#bootClock.nowMs();
        const isOfThisBoot = hold.bootId === this.#bootClock.bootId;
        if (!named.has(id) && !isVoid && isOfThisBoot) expect(stored.get(id), id).toEqual(hold);
      }
    }
  }

  /** What was taken in this batch fits into the node as it is. */
  #fits(ops: readonly Op[], answers: readonly Answer[], stored: Map<string, Hold>): void {
    for (const [at, { do: what }] of ops.entries()) {
      const answer = answers[at];
      const each = ops[at];
      if (what !== "take" || each?.do !== "take" || answer === "unavailable") continue;
      if (answer?.kind !== "taken" || this.#known.has(each.id)) continue;
      const holds = [...stored.values()].filter(({ claim: held }) => {
        return held.nodeId === each.claim.nodeId;
      });
      const taken = holds.reduce((sum, { claim: held }) => sum + held.cpuMillis, 0);
      expect(taken).toBeLessThanOrEqual(this.#capacity.get(each.claim.nodeId)?.cpuMillis ?? 0);
    }
  }

  async #check(sweeps: boolean): Promise<void> {
    const stored = await this.stored();
    expectNoDouble([...stored.values()]);
    for (const [id, hold] of this.#known) {
      if (hold.kind === "allocation") expect(stored.get(id), id).toEqual(hold);
    }
    for (const id of stored.keys()) expect(this.#known.has(id), id).toBe(true);
    const leases = [...stored.values()].filter(({ kind }) => kind === "lease");
    expect(leases.length).toBeLessThanOrEqual(RULES.maxLeases);
    if (!sweeps) return;
    // A write whose end nobody knows is looked up by the next sweep.
    for (const { id } of await this.ledger.sweep()) this.#known.delete(id);
    const swept = await this.stored();
    const byId = (one: Hold, other: Hold) => (one.id < other.id ? -1 : 1);
    expect([...this.ledger.holds()].sort(byId)).toEqual([...swept.values()].sort(byId));
    expect(this.ledger.size).toBe(swept.size);
    this.#readsRight(swept);
    const { revision } = this.ledger.status;
    expect(revision >= this.#lastRevision).toBe(true);
    this.#lastRevision = revision;
  }

  #readsRight(stored: Map<string, Hold>): void {
    for (const id of NODES) {
      const { devices } = this.ledger.node(id);
      for (const hold of stored.values()) {
        if (hold.claim.nodeId !== id) continue;
        for (const { uuid } of hold.claim.devices) {
          const shown = devices.find((each) => each.uuid === uuid);
          expect(shown?.holders, uuid).toContain(hold.id);
          expect(shown?.state, uuid).not.toBe("free");
          expect(shown?.whyNot, uuid).toBeDefined();
        }
      }
    }
  }

  /** What runs: half of what is allocated. */
  #running() {
    const allocations = [...this.#known.values()].filter((hold) => hold.kind === "allocation");
    return allocations
      .filter((_, at) => at % 2 === 0)
      .map(({ id, claim, purpose }) => ({ allocationId: id, ...claim, ...purpose }));
  }
}

function idsOf(asked: Op): readonly string[] {
  if (asked.do === "takeTwo") return asked.ids;
  return asked.do === "takeLease" ? [asked.id, asked.leaseId] : [asked.id];
}

describe("Ledger under any interleaving", () => {
  let directory: string;
  let behind: DocumentStore;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "berth-ledger-"));
    const file = join(directory, "ledger.sqlite");
    behind = openSqliteDocumentStore(file, systemClock, { durability: "process" });
  });
  afterAll(async () => {
    await behind.close();
    rmSync(directory, { recursive: true });
  });

  it("gives nothing twice, keeps what it has promised, and keeps nothing of what it has refused", async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
        runs += 1;
        const run = new Run(behind, `run-${runs}`);
        await run.open();
        for (const each of steps) await run.step(each);
        await run.step({ kind: "reopen", boots: false });
      }),
      { numRuns: Number(process.env.BERTH_LEDGER_RUNS ?? 60) },
    );
  }, 120_000);
});
