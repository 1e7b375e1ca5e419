import { describe, expect, it } from "vitest";
import { claimOf, gpuCapacity, nodeCapacity, purposeOf } from "../testing/ledger.ts";
import { nodeBalance } from "./balance.ts";
import type { DeviceClaim, Hold } from "./claim.ts";
import { collisions } from "./collisions.ts";
import { nodeUse } from "./node-use.ts";

const allocation = (id: string, ...devices: (string | DeviceClaim)[]): Hold => {
  const rest = { purpose: purposeOf(id), state: "committed", takenAt: "" } as const;
  return { kind: "allocation", id, claim: claimOf("n1", devices), ...rest };
};
const lease = (id: string, ...devices: (string | DeviceClaim)[]): Hold => {
  const end = { ttlMs: 1, renewals: 0, endsAtBootMs: 1, bootId: "b", storeId: "", generation: 1 };
  return { kind: "lease", id, claim: claimOf("n1", devices), subject: "s", ...end, takenAt: "" };
};
const share = (uuid: string, memoryMiB: number) => ({ uuid, memoryMiB });
const balance = (...holds: Hold[]) => nodeBalance({ capacity: nodeCapacity("n1"), holds });
const device = (uuid: string, ...holds: Hold[]) =>
  balance(...holds).devices.find((each) => each.uuid === uuid);

describe("nodeBalance", () => {
  it("shows a node without holds as free, but for the GPU that is cut up", () => {
    const { devices, cpuMillis, refusal } = balance();
    expect(refusal).toBeUndefined();
    expect(cpuMillis).toEqual({ total: 16_000, taken: 0, free: 16_000 });
    expect(devices.map(({ uuid, kind, slot, state }) => [uuid, kind, slot, state])).toEqual([
      ["n1-g0", "gpu", 0, "free"],
      ["n1-g1", "gpu", 1, "free"],
      ["n1-g2", "gpu", 2, "free"],
      ["n1-g3", "gpu", 3, "free"],
      ["n1-m0", "mig", 3, "free"],
      ["n1-m1", "mig", 3, "free"],
    ]);
    const refusing = devices.filter(({ whyNot }) => whyNot !== undefined);
    expect(refusing.map(({ uuid }) => uuid)).toEqual(["n1-g3"]);
  });

  it("tells who holds a device, how much of it, and what is left", () => {
    const shown = device(
      "n1-g0",
      allocation("a1", share("n1-g0", 50)),
      lease("l1", share("n1-g0", 20)),
    );
    expect(shown).toMatchObject({
      state: "allocated",
      holders: ["a1", "l1"],
      memory: { total: 80, taken: 70, free: 10 },
    });
    expect(shown?.whyNot).toContain("allocation a1");
    expect(device("n1-g0", lease("l1", "n1-g0"))).toMatchObject({
      state: "leased",
      memory: { total: 80, taken: 80, free: 0 },
    });
  });

  it("shows a GPU as held by who holds a part of it, and the other part as free", () => {
    const holds = [allocation("a1", "n1-m0")];
    expect(device("n1-g3", ...holds)).toMatchObject({
      state: "allocated",
      holders: ["a1"],
      memory: { total: 80, taken: 40, free: 40 },
    });
    expect(device("n1-m0", ...holds)).toMatchObject({ state: "allocated", gpuUuid: "n1-g3" });
    expect(device("n1-m1", ...holds)).toMatchObject({ state: "free", holders: [] });
  });

  it("keeps showing what is held of a device that the node does not report any more", () => {
    const gone = device("n1-g9", allocation("a1", "n1-g9"));
    expect(gone).toMatchObject({ kind: "gone", state: "allocated", holders: ["a1"] });
    expect(gone?.whyNot).toBe("node n1 has no device n1-g9");
  });

  it("shows over-commit as more taken than there is, and nothing free", () => {
    const capacity = nodeCapacity("n1", { cpuMillis: 50, gpus: [gpuCapacity("g", 0)] });
    const holds = [allocation("a1", share("g", 60)), allocation("a2", share("g", 60))];
    const { cpuMillis, devices } = nodeBalance({ capacity, holds });
    expect(cpuMillis).toEqual({ total: 50, taken: 200, free: 0 });
    expect(devices[0]?.memory).toEqual({ total: 80, taken: 120, free: 0 });
  });

  it("passes on why a node or a device may not be taken", () => {
    const gpus = [gpuCapacity("g", 0, { refusal: "XID 79" })];
    const capacity = nodeCapacity("n1", { refusal: "cordoned", gpus });
    const shown = nodeBalance({ capacity, holds: [allocation("a1", "g")] });
    expect(shown.refusal).toBe("cordoned");
    expect(shown.devices[0]).toMatchObject({ state: "allocated", holders: ["a1"] });
    expect(shown.devices[0]?.whyNot).toContain("XID 79");
  });
});

describe("collisions", () => {
  const found = (...holds: Hold[]) =>
    collisions(nodeUse({ capacity: nodeCapacity("n1"), holds })).map(
      ({ deviceUuid, holdIds }) => `${deviceUuid}: ${holdIds.join(" ")}`,
    );

  it("finds none in what the ledger may give", () => {
    const shares = [allocation("a1", share("n1-g0", 40)), allocation("a2", share("n1-g0", 40))];
    expect(found(...shares, allocation("a3", "n1-m0"), allocation("a4", "n1-m1", "n1-g1"))).toEqual(
      [],
    );
  });

  it.each<[string, Hold, Hold, string]>([
    ["two whole", allocation("a", "n1-g0"), allocation("b", "n1-g0"), "n1-g0: a b"],
    [
      "a whole and a share",
      allocation("a", "n1-g0"),
      allocation("b", share("n1-g0", 1)),
      "n1-g0: a b",
    ],
    [
      "too many shares",
      allocation("a", share("n1-g0", 50)),
      allocation("b", share("n1-g0", 50)),
      "n1-g0: a b",
    ],
    ["a GPU and its part", allocation("a", "n1-g3"), allocation("b", "n1-m0"), "n1-g3: a b"],
    ["a part twice", allocation("a", "n1-m0"), allocation("b", "n1-m0"), "n1-m0: a b"],
    ["a device that is gone", allocation("a", "n1-g9"), allocation("b", "n1-g9"), "n1-g9: a b"],
  ])("finds %s", (_what, one, other, expected) => {
    expect(found(one, other)).toEqual([expected]);
  });
});
