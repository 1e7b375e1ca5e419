import { afterEach, expect, it, vi } from "vitest";
import { anEntry, PlacementHarness } from "../testing/placement-harness.ts";

const TWO = { c1: { nodes: 2, gpus: 4 }, c2: { nodes: 2, gpus: 4 } };
const WAIT = { timeout: 5_000, interval: 5 };

let harness: PlacementHarness;

afterEach(() => harness.close());

async function open() {
  harness = new PlacementHarness(TWO);
  await harness.start();
  harness.fleet.get("c1").score = 0.9;
  return harness.fleet;
}

const NOT_HEARD = {
  reason: "UNAVAILABLE",
  message:
    'block "b" was on cluster c1, whose agent was not heard since the control-plane was started: try again when it is back, or remove that cluster',
};

it("makes no block twice because the cluster that has it is not back after a restart", async () => {
  const fleet = await open();
  expect(await harness.place(anEntry("b"))).toMatchObject({ cluster_id: "c1" });
  fleet.setHeard("c1", false);
  await harness.start();
  await expect(harness.place(anEntry("b"))).rejects.toMatchObject(NOT_HEARD);
  expect(await harness.place(anEntry("other"))).toMatchObject({ cluster_id: "c2" });
  fleet.setHeard("c1", true);
  await expect(harness.place(anEntry("b"))).rejects.toMatchObject({ reason: "ALREADY_EXISTS" });
  expect(fleet.placesOf("b")).toEqual(["c1"]);
});

it("knows blocks that were not made here, and those that went, as their cluster told them", async () => {
  const fleet = await open();
  await harness.place(anEntry("gone"));
  const made = fleet.get("c1");
  made.answer({
    ...{ method: "POST", path: "/executeAction" },
    bodyJson: JSON.stringify({ action: "create_block", block_data: anEntry("b") }),
  });
  made.answer({
    ...{ method: "POST", path: "/executeAction" },
    bodyJson: JSON.stringify({ action: "remove_block", block_id: "gone" }),
  });
  await vi.waitFor(async () => {
    expect(fleet.blocks.of("c1")?.blocks.has("b")).toBe(true);
    fleet.setHeard("c1", false);
    expect(harness.placing.homes.unheard("b")).toEqual(["c1"]);
    expect(harness.placing.homes.unheard("gone")).toEqual([]);
    fleet.setHeard("c1", true);
  }, WAIT);
  fleet.setHeard("c1", false);
  await harness.start();
  await expect(harness.place(anEntry("b"))).rejects.toMatchObject(NOT_HEARD);
  expect(await harness.place(anEntry("gone"))).toMatchObject({ cluster_id: "c2" });
});

it("tells of a block whose cluster was not heard yet that it is there, and lists what is missing", async () => {
  const fleet = await open();
  await harness.place(anEntry("b"));
  const { gateway: before } = harness.placing;
  await vi.waitFor(() => expect(before.find("b").told.clusterId).toBe("c1"), WAIT);
  fleet.setHeard("c1", false);
  await harness.start();
  const { gateway } = harness.placing;
  const notHeard = expect.objectContaining({
    reason: "UNAVAILABLE",
    message: expect.stringMatching(/^block "b" was on cluster c1, whose agent was not heard since/),
  });
  expect(() => gateway.find("b")).toThrow(notHeard);
  expect(() => gateway.find("b", "c1")).toThrow(expect.objectContaining({ reason: "UNAVAILABLE" }));
  expect(() => gateway.clusters("c1")).toThrow(/asked is cluster c1/);
  expect(() => gateway.find("none")).toThrow(expect.objectContaining({ reason: "NOT_FOUND" }));
  expect(() => gateway.clusters("c9")).toThrow(expect.objectContaining({ reason: "NOT_FOUND" }));
  expect(gateway.missing()).toEqual([expect.stringMatching(/^cluster c1 was not heard since/)]);
  fleet.setHeard("c1", true);
  expect(gateway.find("b").told.clusterId).toBe("c1");
  expect(gateway.missing()).toEqual([]);
});

it("forgets the blocks of a cluster that was removed", async () => {
  const fleet = await open();
  await harness.place(anEntry("b"));
  fleet.setHeard("c1", false);
  await harness.start();
  await harness.placing.homes.forget("c1");
  expect(await harness.place(anEntry("b"))).toMatchObject({ cluster_id: "c2" });
  await harness.start();
  expect(harness.placing.homes.unheard("b")).toEqual([]);
});

it("notes where a block is made before that is asked for", async () => {
  const fleet = await open();
  const noted: (readonly string[])[] = [];
  fleet.before = (id, { bodyJson = "" }) => {
    if (id !== "c1" || !bodyJson.includes("create_block")) return;
    fleet.get("c1").isHeard = false;
    noted.push(harness.placing.homes.unheard("b"));
    fleet.get("c1").isHeard = true;
  };
  await harness.place(anEntry("b"));
  expect(noted).toEqual([["c1"]]);
});
