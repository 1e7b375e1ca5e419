import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { FLAVOR, PlacedScaling, toldPlaces } from "../../testing/placed-scaling.ts";

/** Policies of a machine that is busy take their time. */
const WAIT = { timeout: 15_000 };

const org = new PlacedScaling();
beforeAll(() => org.ready());
afterAll(() => org.close());
beforeEach(() => org.begin());
afterEach(() => org.end());

describe("replicas that a policy places", () => {
  it("are held one by one at the ledgers that the profile names, and told with their leases", async () => {
    await org.open();
    await org.create();
    const three = await org.scaling.scaled("s", 3);
    expect(three).toMatchObject({
      ...{ state: "confirmed", response: { status: "allocated", replicas: 3 } },
      response: { places: toldPlaces(["0", "1", "2"]) },
    });
    expect(three.response).not.toHaveProperty("message");
    const leases = [...org.fleet.get("m").leases.values()];
    expect(leases.map(({ subject }) => subject)).toEqual(Array(3).fill("default_org/replica/q"));
    expect(org.used()).toEqual({ [FLAVOR]: 3_000 });
    const four = await org.scaling.scaled("s", 4);
    expect(four).toMatchObject({ response: { places: toldPlaces(["0", "1", "2", "3"]) } });
    expect(org.fleet.get("other").heldLeases).toBe(0);
    // Only the newest tells of them: they may be many.
    expect(org.scaling.scale.get(three.uuid)?.response).toEqual({
      status: "allocated",
      replicas: 3,
    });
  });

  it("go with their leases, the newest first", async () => {
    await org.open();
    await org.create();
    await org.scaling.scaled("s", 3);
    expect(await org.scaling.scaled("s", 1)).toMatchObject({
      ...{ state: "confirmed", response: { replicas: 1, places: toldPlaces(["0"]) } },
      response: { removed_places: toldPlaces(["1", "2"]) },
    });
    expect(org.slots()).toEqual(["0"]);
    await vi.waitFor(() => expect(org.fleet.get("m").heldLeases).toBe(1), WAIT);
    expect(org.used()).toEqual({ [FLAVOR]: 1_000 });
    expect(await org.scaling.scaled("s", 0)).toMatchObject({ state: "confirmed" });
    await vi.waitFor(() => expect(org.fleet.get("m").heldLeases).toBe(0), WAIT);
  });

  it("go as a policy says", async () => {
    await org.open();
    await org.create({ victim_policy_rule_uri: org.uri("oldest") });
    await org.scaling.scaled("s", 3);
    await org.scaling.scaled("s", 1);
    expect(org.slots()).toEqual(["2"]);
  });

  it("stay when the policy that picks those that go fails", async () => {
    await org.open();
    await org.create({ victim_policy_rule_uri: org.uri("bad") });
    await org.scaling.scaled("s", 2);
    expect(await org.scaling.scaled("s", 1)).toMatchObject({
      state: "failed",
      response: { replicas: 2, message: expect.stringContaining("no idea") },
    });
    expect(org.slots()).toEqual(["0", "1"]);
    expect(org.used()).toEqual({ [FLAVOR]: 2_000 });
  });

  it("are fewer where there is no room for more, and charged so", async () => {
    await org.open();
    await org.take("1", "3");
    await org.create();
    expect(await org.scaling.scaled("s", 3)).toMatchObject({
      state: "partial",
      response: { replicas: 2, message: "no place for a replica: all are taken" },
    });
    expect(org.slots()).toEqual(["0", "2"]);
    expect(org.used()).toEqual({ [FLAVOR]: 2_000 });
    expect(org.scaling.books.quotas.get("q").quota.replicas).toBe(2);
  });

  it("say when they have other GPUs than are charged for them", async () => {
    await org.open();
    await org.create({ parameters: { gpus: 2 } });
    expect(await org.scaling.scaled("s", 1)).toMatchObject({
      state: "confirmed",
      response: {
        message: `replica 0 has 2 GPUs of ${FLAVOR}, where gpus_per_replica says 1 GPU of ${FLAVOR}`,
      },
    });
  });
});

describe("a request that comes to nothing has failed, says why, and charges and holds nothing", () => {
  it.each([
    ["a policy that fails", "bad", 1, /^policy bad:1-t raised ValueError: no idea/],
    ["a policy that is not there", "none", 1, /^Policy rule with URI .none:1-t. not found/],
    ["a policy that chooses two places", "two", 1, /chose 2 places for a replica, expected one/],
    ["more replicas than are placed", "free", 1_001, /expected at most 1000 replicas/],
  ])("of %s", async (_name, policy, replicas, message) => {
    await org.open();
    await org.create({}, policy);
    const failed = await org.scaling.scaled("s", replicas);
    expect(failed).toMatchObject({
      ...{ state: "failed", response: { replicas: 0, message: expect.stringMatching(message) } },
    });
    expect(org.used()).toEqual({});
    expect(org.fleet.get("m").heldLeases).toBe(0);
  });

  it("of a cluster that is full", async () => {
    await org.open();
    await org.take("0", "1", "2", "3");
    await org.create();
    expect(await org.scaling.scaled("s", 2)).toMatchObject({
      state: "failed",
      response: { message: "no place for a replica: all are taken" },
    });
    expect(org.used()).toEqual({});
  });
});
