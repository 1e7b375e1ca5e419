import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  asking,
  claimOf,
  leasing,
  nodeCapacity,
  running,
  take,
  testLedger,
} from "../testing/ledger.ts";
import type { LedgerOptions } from "./ledger.ts";

let directory: string;
let sqlite: DocumentStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-ledger-"));
  const file = join(directory, "ledger.sqlite");
  sqlite = openSqliteDocumentStore(file, systemClock, { durability: "process" });
});
afterEach(async () => {
  await sqlite.close();
  rmSync(directory, { recursive: true });
});

async function openTest(options: Partial<LedgerOptions> = {}) {
  const test = await testLedger({ store: sqlite, ...options });
  await test.ledger.reconcile([]);
  return test;
}
const ids = (holds: readonly { readonly id: string }[]) => holds.map(({ id }) => id).sort();

describe("Ledger on a store that fails", () => {
  it.each(["before", "after"] as const)(
    "tells everybody who built on a write that failed %s it was made, and knows the truth afterwards",
    async (fault) => {
      const { ledger, store, open } = await openTest();
      await take(ledger, "a0", "n1-g0");
      let writes = 0;
      store.fault = () => (writes++ === 0 ? fault : "none");
      const answers = await Promise.allSettled([
        take(ledger, "a1", "n1-g1"),
        take(ledger, "a2", "n1-g2"),
        take(ledger, "a3", "n1-g1"),
        ledger.free("a0"),
      ]);
      for (const answer of answers) {
        expect(answer).toMatchObject({ status: "rejected", reason: { reason: "UNAVAILABLE" } });
      }
      expect(await take(ledger, "a1", "n1-g1")).toMatchObject({ kind: "taken" });
      const kept = ids((await open()).holds());
      expect(ids(ledger.holds())).toEqual(kept);
      expect(kept).toContain("a1");
      if (fault === "before") expect(kept).toEqual(["a0", "a1"]);
    },
  );

  it("lets what comes behind the end of a document wait for it, and fail by itself only", async () => {
    const { ledger, store } = await openTest();
    await take(ledger, "a1", "n1-g0");
    let writes = 0;
    store.fault = () => (writes++ === 0 ? "before" : "none");
    const [freed, ...taken] = await Promise.allSettled([
      ledger.free("a1"),
      take(ledger, "a2", "n1-g1"),
      take(ledger, "a3", "n1-g2"),
      take(ledger, "a4", "n1-g0"),
    ]);
    expect(freed).toMatchObject({ status: "rejected" });
    const kinds = taken.map((each) => each.status === "fulfilled" && each.value.kind);
    expect(kinds).toEqual(["taken", "taken", "refused"]);
    expect(ids(ledger.holds())).toEqual(["a1", "a2", "a3"]);
  });

  it("goes on with other nodes while one cannot be read, and with that one when it can", async () => {
    const { ledger, store } = await openTest();
    store.fault = () => "before";
    await expect(take(ledger, "a1", "n1-g0")).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    store.fault = () => "none";
    store.isUnreadable = true;
    await expect(take(ledger, "a1", "n1-g0")).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(await ledger.take([asking("a2", claimOf("n2"))])).toMatchObject({ kind: "taken" });
    store.isUnreadable = false;
    expect(await ledger.sweep()).toEqual([]);
    expect(await take(ledger, "a1", "n1-g0")).toMatchObject({ kind: "taken" });
  });

  it("refuses a node whose document is not its own, and shows all of it as taken", async () => {
    const first = await openTest();
    await first.ledger.take([asking("a2", claimOf("n2", ["n2-g0"]))]);
    const key = { orgId: "o", collection: "ledger_nodes", id: "n1" };
    await sqlite.apply([{ kind: "insert", key, body: { holds: [{ kind: "allocation" }] } }]);
    const ledger = await first.open();
    const report = await ledger.reconcile([
      running("a9", "n1-g0"),
      { ...running("a2", "n2-g0"), nodeId: "n2" },
    ]);
    expect(report).toMatchObject({ adopted: [], generationRaised: false });
    expect(report.conflicts[0]?.message).toContain("document is damaged");
    expect(await take(ledger, "a1", "n1-g1")).toMatchObject({ reason: "node_refuses" });
    const { refusal, devices, cpuMillis } = ledger.node("n1");
    expect(refusal).toContain("damaged");
    expect([...new Set(devices.map(({ state }) => state))]).toEqual(["allocated"]);
    expect(cpuMillis.free).toBe(0);
    expect(await ledger.take([asking("a3", claimOf("n2", ["n2-g1"]))])).toMatchObject({
      kind: "taken",
    });
  });
});

describe("Ledger.reconcile", () => {
  it("gives nothing before it, and says what the ledger waits for", async () => {
    const { ledger } = await testLedger({ store: sqlite });
    const message = "the ledger is closed: the ledger waits for a look at what runs";
    const refusals = await Promise.all([
      take(ledger, "a1"),
      ledger.free("a1"),
      ledger.quarantine("a1", ""),
      ledger.confirm("a1"),
      ledger.lease(leasing("l1", claimOf("n1"))),
      ledger.renew({ leaseId: "l1", ttlMs: 1_000 }),
      ledger.release({ leaseId: "l1" }),
    ]);
    for (const each of refusals) expect(each).toMatchObject({ reason: "closed", message });
    expect(ledger.status).toMatchObject({ state: "closed", generation: 1 });
    expect(ledger.node("n1").devices).toHaveLength(6);
  });

  it("finds books in order as they are, and tells what it has not seen", async () => {
    const { ledger, open } = await openTest();
    await take(ledger, "a1", "n1-g0");
    await take(ledger, "a2", "n1-g1");
    await ledger.lease(leasing("l1", claimOf("n1", ["n1-g2"])));
    const again = await open();
    const report = await again.reconcile([running("a1", "n1-g0")]);
    expect(report).toMatchObject({
      adopted: [],
      changed: [],
      conflicts: [],
      generationRaised: false,
    });
    expect(ids(report.unobserved)).toEqual(["a2"]);
    expect(again.status).toMatchObject({ state: "open", generation: 1 });
    expect(ids(again.holds())).toEqual(["a1", "a2", "l1"]);
    expect(await again.renew({ leaseId: "l1", ttlMs: 5_000 })).toMatchObject({ kind: "leased" });
  });

  it("adopts what runs without a hold, beside others too, and voids all leases", async () => {
    const { ledger, open } = await openTest();
    await take(ledger, "a1", "n1-g0");
    await ledger.lease(leasing("l1", claimOf("n2", ["n2-g0"])));
    const again = await open();
    const seen = [running("a1", "n1-g0"), running("a2", "n1-g0"), running("a3", "n1-g1")];
    const report = await again.reconcile(seen);
    expect(ids(report.adopted)).toEqual(["a2", "a3"]);
    expect(report.generationRaised).toBe(true);
    expect(report.conflicts).toMatchObject([{ deviceUuids: ["n1-g0"], holdIds: ["a1", "a2"] }]);
    expect(again.hold("a2")).toMatchObject({
      note: expect.stringContaining("conflicts with a1 on n1-g0"),
    });
    expect(ids(await again.sweep())).toEqual(["l1"]);
    expect(ids(again.holds())).toEqual(["a1", "a2", "a3"]);
    expect(await take(again, "a4", "n1-g0")).toMatchObject({ reason: "taken" });
    expect(await take(again, "a4", "n1-g1")).toMatchObject({ reason: "taken" });
    const third = await open();
    expect(third.status.generation).toBe(2);
    expect(await third.reconcile(seen)).toMatchObject({ adopted: [], generationRaised: false });
  });

  it("holds no longer for what was not seen where something else runs, as after an older store was put back", async () => {
    const { ledger, open } = await openTest();
    await take(ledger, "old", "n1-g0");
    await take(ledger, "idle", "n1-g1");
    const again = await open();
    const report = await again.reconcile([running("new", "n1-g0")]);
    expect(ids(report.displaced)).toEqual(["old"]);
    expect(ids(report.unobserved)).toEqual(["idle"]);
    expect(report.conflicts).toEqual([]);
    expect(ids(again.holds())).toEqual(["idle", "new"]);
    expect(ids((await open()).holds())).toEqual(["idle", "new"]);
    expect(await take(again, "old", "n1-g2")).toMatchObject({ kind: "taken" });
  });

  it("follows what runs when it runs elsewhere than it is held", async () => {
    const { ledger, open } = await openTest();
    const share = { uuid: "n1-g1", memoryMiB: 30 };
    await ledger.take([
      asking("a1", claimOf("n1", ["n1-g0"])),
      asking("a2", claimOf("n1", [share])),
    ]);
    const again = await open();
    const report = await again.reconcile([
      { ...running("a1", "n2-g2"), nodeId: "n2" },
      running("a2", "n1-g1", "n1-g2"),
    ]);
    expect(ids(report.changed)).toEqual(["a1", "a2"]);
    expect(report.generationRaised).toBe(true);
    expect(again.hold("a1")).toMatchObject({
      claim: { nodeId: "n2", devices: [{ uuid: "n2-g2" }] },
      note: expect.stringContaining("n1-g0 of node n1"),
    });
    expect(again.hold("a2")?.claim.devices).toEqual([share, { uuid: "n1-g2" }]);
    expect(await take(again, "a3", "n1-g0")).toMatchObject({ kind: "taken" });
    expect(ids((await open()).holds())).toEqual(["a1", "a2", "a3"]);
  });

  it("gives each of several instances of one allocation a hold, the same at every look", async () => {
    const { open } = await openTest();
    const twin = { ...running("a1", "n1-g1"), instanceId: "i-twin" };
    const nameless = { ...running("", "n1-g2"), instanceId: "i-nameless" };
    const seen = [twin, running("a1", "n1-g0"), nameless];
    const ledger = await open();
    expect(ids((await ledger.reconcile(seen)).adopted)).toEqual(["a1", "a1~i-twin", "~i-nameless"]);
    const again = await open();
    const report = await again.reconcile(seen.toReversed());
    expect(report).toMatchObject({
      adopted: [],
      changed: [],
      unobserved: [],
      generationRaised: false,
    });
  });

  it("takes in what runs on parts of one GPU as parts, also when the store has lost all", async () => {
    const { open } = await openTest();
    const part = (id: string) => {
      const devices = [{ uuid: "n1-g0", memoryMiB: 40 }];
      return { ...running(id), devices, instanceId: `i-${id}` };
    };
    const ledger = await open();
    const report = await ledger.reconcile([part("a1"), part("a2")]);
    expect(report.conflicts).toEqual([]);
    expect(report.adopted.map(({ claim }) => claim.devices)).toEqual([
      [{ uuid: "n1-g0", memoryMiB: 40 }],
      [{ uuid: "n1-g0", memoryMiB: 40 }],
    ]);
  });

  it("raises the generation when the store has lost it", async () => {
    const { ledger, open } = await openTest();
    await ledger.lease(leasing("l1", claimOf("n1", ["n1-g0"])));
    await sqlite.apply([
      { kind: "delete", key: { orgId: "o", collection: "ledger", id: "ledger" } },
    ]);
    const again = await open();
    expect((await again.reconcile([])).generationRaised).toBe(true);
    expect(again.status.generation).toBe(2);
    expect(again.size).toBe(0);
  });

  it("stays closed when the store fails or it is closed meanwhile, and opens the next time", async () => {
    const { ledger, store } = await testLedger({ store: sqlite });
    store.fault = () => "before";
    const seen = [running("a1", "n1-g0")];
    await expect(ledger.reconcile(seen)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(ledger.status).toMatchObject({ state: "closed", generation: 1 });
    store.fault = () => "none";
    const reconciling = ledger.reconcile(seen);
    await ledger.close("the ledger waits for the API server");
    await reconciling;
    expect(ledger.status).toMatchObject({
      state: "closed",
      why: "the ledger waits for the API server",
      generation: 2,
    });
    await ledger.reconcile(seen);
    expect(ledger.status).toMatchObject({ state: "open", generation: 2 });
  });

  it("is refused while the ledger is open, as what was seen may not be so any more", async () => {
    const { ledger } = await openTest();
    await expect(ledger.reconcile([])).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
    expect(ledger.status.state).toBe("open");
  });

  it("waits for what was begun before it was closed", async () => {
    const { ledger } = await openTest();
    const taking = take(ledger, "a1", "n1-g0");
    await ledger.close("the ledger waits for the API server");
    expect(ids(ledger.holds())).toEqual(["a1"]);
    expect(await taking).toMatchObject({ kind: "taken" });
    expect(await take(ledger, "a2", "n1-g1")).toMatchObject({ reason: "closed" });
    expect(await ledger.sweep()).toEqual([]);
  });
});

describe("Ledger.status", () => {
  it("rises at each change, over restarts too, and whoever listens hears of it", async () => {
    const { ledger } = await openTest({ revisionBase: 100n });
    const seen: bigint[] = [];
    const end = ledger.onChange(() => seen.push(ledger.status.revision));
    ledger.onChange(() => {
      throw new Error("a bad listener");
    });
    await take(ledger, "a1", "n1-g0");
    await take(ledger, "a1", "n1-g0");
    await take(ledger, "a2", "n1-g0");
    expect(seen).toHaveLength(1);
    await ledger.free("a1");
    end();
    await ledger.close("");
    expect(seen).toHaveLength(2);
    expect(seen.every((revision, at) => revision > (seen[at - 1] ?? 100n))).toBe(true);
  });
});

describe("Ledger for a thousand callers at once", () => {
  it("gives nothing twice and leaks nothing", async () => {
    const nodeIds = Array.from({ length: 100 }, (_, n) => `m${n}`);
    const nodes = new Map(nodeIds.map((id) => [id, nodeCapacity(id)]));
    const { ledger } = await openTest({ capacity: (id) => nodes.get(id) });
    // 300 whole GPUs for 1,000 callers: each is wanted by three or four.
    const callers = Array.from({ length: 1_000 }, async (_, n) => {
      const node = `m${n % 100}`;
      const claim = claimOf(node, [`${node}-g${Math.floor(n / 100) % 3}`]);
      const subject = `s${n % 10}`;
      const leased = await ledger.lease(leasing(`l${n}`, claim, { subject }));
      if (leased.kind === "refused") return `lease ${leased.reason}`;
      const lease = { leaseId: `l${n}`, subject, storeId: "" };
      const taken = await ledger.take([asking(`a${n}`, claim, { lease })]);
      return taken.kind === "refused" ? `take ${taken.reason}` : `a${n}`;
    });
    const answers = await Promise.all(callers);
    const given = answers.filter((answer) => answer.startsWith("a"));
    const others = answers.filter((answer) => !answer.startsWith("a"));
    expect(given).toHaveLength(300);
    expect([...new Set(others)]).toEqual(["lease taken"]);
    expect(ids(ledger.holds())).toEqual(given.toSorted());
    const uuids = ledger.holds().flatMap(({ claim }) => claim.devices.map(({ uuid }) => uuid));
    expect(new Set(uuids).size).toBe(300);
    expect(ledger.leases()).toEqual([]);
  });

  it("turns a thousand leases into allocations, all at once on 100 nodes", async () => {
    const nodeIds = Array.from({ length: 100 }, (_, n) => `m${n}`);
    const nodes = new Map(nodeIds.map((id) => [id, nodeCapacity(id)]));
    const { ledger } = await openTest({ capacity: (id) => nodes.get(id) });
    const callers = Array.from({ length: 1_000 }, async (_, n) => {
      const node = `m${n % 100}`;
      const share = { uuid: `${node}-g${Math.floor(n / 100) % 3}`, memoryMiB: 20 };
      const claim = claimOf(node, [share]);
      await ledger.lease(leasing(`l${n}`, claim, { subject: `s${n % 10}` }));
      return await ledger.take([asking(`a${n}`, claim, { lease: { leaseId: `l${n}` } })]);
    });
    const answers = await Promise.all(callers);
    expect(answers.filter(({ kind }) => kind !== "taken")).toEqual([]);
    expect([ledger.size, ledger.leases().length]).toEqual([1_000, 0]);
  });
});
