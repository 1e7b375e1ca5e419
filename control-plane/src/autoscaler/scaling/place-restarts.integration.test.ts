import { allPages, BerthError, silentLogger } from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ORG } from "../../testing/allocator-harness.ts";
import { FLAVOR, PlacedScaling, toldPlaces } from "../../testing/placed-scaling.ts";
import { PlaceKeeper } from "./place-keeper.ts";

/** Policies of a machine that is busy take their time. */
const WAIT = { timeout: 15_000 };

const org = new PlacedScaling();
beforeAll(() => org.ready());
afterAll(() => org.close());
beforeEach(() => org.begin());
afterEach(() => org.end());

describe("a request that is applied once more", () => {
  it.each(Array.from({ length: 8 }, (_, write) => write + 1))(
    "after the program was killed at write %i has no more places than were wanted",
    async (write) => {
      let left = write;
      await org.open();
      await org.create();
      await org.scaling.stop();
      const store = withApply(org.store, (batch) => {
        left -= 1;
        return left > 0 ? org.store.apply(batch) : new Promise(() => undefined);
      });
      const leave = await org.openKilled(store);
      void org.scaling.ask("s", 3).catch(() => undefined);
      await vi.waitFor(() => expect(left).toBeLessThanOrEqual(0), WAIT);
      leave();
      await org.open();
      const isTaken = write > 1;
      await vi.waitFor(
        () =>
          expect(org.scaling.scale.all()).toMatchObject(isTaken ? [{ state: "confirmed" }] : []),
        WAIT,
      );
      expect(org.slots()).toHaveLength(isTaken ? 3 : 0);
      // The place that was got and not written down yet is held until its lease ends.
      const { heldLeases, leases } = org.fleet.get("m");
      expect(heldLeases).toBeLessThanOrEqual(4);
      for (const { leaseId = "" } of org.places()) expect(leases.has(leaseId)).toBe(true);
    },
  );

  it("is confirmed as it was, although there is room for more by then", async () => {
    await org.open();
    await org.create();
    await org.scaling.stop();
    await org.take("2", "3");
    const { promise: killed, resolve: kill } = Promise.withResolvers<void>();
    const store = withApply(org.store, (batch) => {
      if (!JSON.stringify(batch).includes('"state":"partial"')) return org.store.apply(batch);
      kill();
      return new Promise(() => undefined);
    });
    const leave = await org.openKilled(store);
    void org.scaling.ask("s", 3).catch(() => undefined);
    await killed;
    leave();
    // The bus within the program lost the confirmation with it.
    const outbox = { orgId: ORG, collection: "outbox" };
    for await (const { id, revision } of allPages(org.store, outbox)) {
      await org.store.apply([{ kind: "delete", key: { ...outbox, id }, ifRevision: revision }]);
    }
    const { leases } = org.fleet.get("m");
    for (const [id, { slots }] of leases) if (slots.includes("2")) leases.delete(id);
    org.look("m");
    await org.open();
    await vi.waitFor(
      () => expect(org.scaling.scale.all()).toMatchObject([{ state: "partial" }]),
      WAIT,
    );
    expect(org.slots()).toEqual(["0", "1"]);
    expect(org.used()).toEqual({ [FLAVOR]: 2_000 });
    expect(org.scaling.scale.all()[0]).not.toHaveProperty("answer");
  });

  it("because a place could not be written down, which is given back then", async () => {
    await org.open();
    await org.create();
    await org.scaling.stop();
    let failures = 1;
    const store = withApply(org.store, async (batch) => {
      if (failures === 0 || !JSON.stringify(batch).includes("leaseId")) {
        return org.store.apply(batch);
      }
      failures -= 1;
      throw new BerthError("UNAVAILABLE", "the disk is full");
    });
    await org.open(store);
    expect(await org.scaling.scaled("s", 2)).toMatchObject({ state: "confirmed" });
    expect(failures).toBe(0);
    expect(org.slots()).toEqual(["0", "1"]);
    expect(org.fleet.get("m").heldLeases).toBe(2);
  });

  it("counts the places of the one that it supersedes", async () => {
    await org.open();
    await org.create();
    const { promise: blocked, resolve: go } = Promise.withResolvers<void>();
    org.fleet.before = () => (org.fleet.get("m").heldLeases === 2 ? blocked : undefined);
    const older = await org.scaling.ask("s", 4);
    await vi.waitFor(() => expect(org.slots()).toEqual(["0", "1"]), WAIT);
    const newer = org.scaling.scaled("s", 1);
    await vi.waitFor(
      () => expect(org.scaling.scale.get(older.uuid)?.state).toBe("superseded"),
      WAIT,
    );
    go();
    expect(await newer).toMatchObject({
      state: "confirmed",
      response: { places: toldPlaces(["0"]) },
    });
    await vi.waitFor(() => expect(org.fleet.get("m").heldLeases).toBe(1), WAIT);
    expect(org.used()).toEqual({ [FLAVOR]: 1_000 });
    // The older one went no further than the place that it was asking for.
    expect(org.fleet.log.filter((one) => one === "m POST /leases")).toHaveLength(3);
  });
});

describe("the leases of places", () => {
  const keeper = () =>
    new PlaceKeeper({
      ...{ scale: org.scaling.scale, quotas: org.scaling.books.quotas },
      ...{ places: org.book(), placer: org.placer(), isPlaced: () => true },
      logger: silentLogger,
    });

  it("are renewed at half their time, and forgotten when somebody has taken them over", async () => {
    await org.open();
    await org.create();
    await org.scaling.scaled("s", 3);
    const { leases } = org.fleet.get("m");
    const [kept = "", late = "", taken = ""] = leases.keys();
    const endOf = (id: string) => leases.get(id)?.endsAtMs ?? 0;
    const before = endOf(kept);
    Object.assign(leases.get(late) ?? {}, { endsAtMs: performance.now() + 200_000 });
    leases.delete(taken);
    org.fleet.get("m").touch();
    await keeper().look();
    expect(endOf(late)).toBeGreaterThan(performance.now() + 500_000);
    expect(endOf(kept)).toBe(before);
    expect(org.places()).toMatchObject([{ leaseId: kept }, {}, { gpus: ["2"] }]);
    expect(org.places()[2]).not.toHaveProperty("leaseId");
    expect(org.fleet.log.filter((one) => one.includes("renew"))).toHaveLength(2);
  });

  it("are left alone while their cluster is away", async () => {
    await org.open();
    await org.create();
    await org.scaling.scaled("s", 1);
    org.fleet.get("m").leases.clear();
    org.fleet.setLive("m", false);
    await keeper().look();
    expect(org.places()).toMatchObject([{ leaseId: expect.any(String) }]);
  });

  it("are given back when their quota is removed, and no other one of its name has them", async () => {
    await org.open();
    await org.create({ gpus_per_replica: {} });
    await org.scaling.scaled("s", 2);
    await org.scaling.books.quotas.remove("q");
    expect(org.places()).toEqual([]);
    await vi.waitFor(() => expect(org.fleet.get("m").heldLeases).toBe(0), WAIT);
    await org.create();
    const again = await org.scaling.scaled("s", 1);
    expect(again).toMatchObject({ state: "confirmed", generation: 2 });
    expect(again.response?.places).toEqual(toldPlaces(["0"]));
    expect(again.response).not.toHaveProperty("removed_places");
  });

  it("are given back when their quota's replicas are placed no more", async () => {
    await org.open();
    await org.create();
    await org.scaling.scaled("s", 2);
    const { quotas } = org.scaling.books;
    await quotas.change("q", { max_replicas: 5 });
    expect(org.places()).toHaveLength(2);
    await quotas.change("q", { allocation_info: "a label" });
    expect(org.places()).toEqual([]);
    await vi.waitFor(() => expect(org.fleet.get("m").heldLeases).toBe(0), WAIT);
    expect(await org.scaling.scaled("s", 0)).toMatchObject({ state: "confirmed" });
    expect(org.used()).toEqual({});
  });

  it("that came while the profile was changed are given back a little later", async () => {
    await org.open();
    await org.create();
    await org.scaling.scaled("s", 2);
    const { scale, books } = org.scaling;
    const left = new PlaceKeeper({
      ...{ scale, quotas: books.quotas, places: org.book(), placer: org.placer() },
      ...{ isPlaced: () => false, logger: silentLogger },
    });
    await left.look();
    expect(org.places()).toEqual([]);
    expect(org.fleet.get("m").heldLeases).toBe(0);
  });
});
