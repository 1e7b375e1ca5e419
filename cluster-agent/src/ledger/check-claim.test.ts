import { describe, expect, it } from "vitest";
import { claimOf, gpuCapacity, nodeCapacity, purposeOf } from "../testing/ledger.ts";
import { checkClaim } from "./check-claim.ts";
import type { AllocationHold, Claim, DeviceClaim, Hold } from "./claim.ts";

const held = (id: string, claim: Claim): AllocationHold => {
  const purpose = purposeOf(id);
  return { kind: "allocation", id, claim, purpose, state: "committed", takenAt: "" };
};
const heldDevices = (id: string, ...devices: (string | DeviceClaim)[]) =>
  held(id, claimOf("n1", devices));
const check = (claim: Claim, holds: readonly Hold[] = [], capacity = nodeCapacity("n1")) =>
  checkClaim(claim, { capacity, holds });
const checkDevices = (devices: (string | DeviceClaim)[], holds: readonly Hold[] = []) =>
  check(claimOf("n1", devices), holds);
const share = (uuid: string, memoryMiB: number) => ({ uuid, memoryMiB });

describe("checkClaim", () => {
  it("lets a node give what it has", () => {
    const all = claimOf("n1", ["n1-g0", share("n1-g1", 80), "n1-m0", "n1-m1"], {
      cpuMillis: 16_000,
      memoryMiB: 64_000,
      storageMiB: 100_000,
    });
    expect(check(all)).toEqual({ kind: "ok" });
  });

  it("names node, device and holder of what is taken, and all devices in the way", () => {
    const outcome = checkDevices(
      ["n1-g0", "n1-g1", "n1-g2"],
      [heldDevices("a1", "n1-g1"), heldDevices("a2", share("n1-g2", 1))],
    );
    expect(outcome).toEqual({
      kind: "refused",
      reason: "taken",
      deviceUuids: ["n1-g1", "n1-g2"],
      message:
        "node n1: GPU 1 (n1-g1) is held by allocation a1 (instance i-a1 of block b); " +
        "node n1: GPU 2 (n1-g2) is held by allocation a2 (instance i-a2 of block b)",
    });
  });

  const half = heldDevices("a1", share("n1-g0", 50));
  it.each<[string, (string | DeviceClaim)[], Hold[], string]>([
    ["a whole GPU beside a share of it", ["n1-g0"], [half], "taken"],
    [
      "a share of a GPU that is held whole",
      [share("n1-g0", 1)],
      [heldDevices("a1", "n1-g0")],
      "taken",
    ],
    ["more memory than is left", [share("n1-g0", 31)], [half], "not_enough"],
    ["more memory than there is", [share("n1-g0", 81)], [], "not_enough"],
    ["a GPU that is cut up", ["n1-g3"], [], "device_refuses"],
    ["a share of a GPU that is cut up", [share("n1-g3", 1)], [], "device_refuses"],
    ["a share of a MIG device", [share("n1-m0", 1)], [], "invalid"],
    ["a MIG device twice", ["n1-m0"], [heldDevices("a1", "n1-m0")], "taken"],
    ["a part of a GPU that is held whole", ["n1-m0"], [heldDevices("a1", "n1-g3")], "taken"],
    [
      "a part of a GPU that is held in shares",
      ["n1-m0"],
      [heldDevices("a1", share("n1-g3", 1))],
      "taken",
    ],
    ["a device that is not there", ["n9-g0"], [], "unknown_device"],
    ["a device twice in one claim", ["n1-g0", share("n1-g0", 1)], [], "invalid"],
    ["no memory at all", [share("n1-g0", 0)], [], "invalid"],
    ["a share that is no whole number", [share("n1-g0", 1.5)], [], "invalid"],
  ])("refuses %s", (_what, devices, holds, reason) => {
    expect(checkDevices(devices, holds)).toMatchObject({ kind: "refused", reason });
  });

  it("gives the rest of a GPU's memory, and the other part of one that is cut up", () => {
    expect(checkDevices([share("n1-g0", 30)], [half])).toEqual({ kind: "ok" });
    expect(checkDevices(["n1-m1"], [heldDevices("a1", "n1-m0")])).toEqual({ kind: "ok" });
  });

  it("gives a GPU of unknown memory whole, and not by memory", () => {
    const capacity = nodeCapacity("n1", { gpus: [gpuCapacity("g", 0, { memoryMiB: 0 })] });
    expect(check(claimOf("n1", ["g"]), [], capacity)).toEqual({ kind: "ok" });
    const outcome = check(claimOf("n1", [share("g", 1)]), [], capacity);
    expect(outcome).toMatchObject({ reason: "device_refuses" });
  });

  it("does not give a GPU whose parts are held from before MIG was turned off", () => {
    const capacity = nodeCapacity("n1", { gpus: [gpuCapacity("g", 0)] });
    const node = { capacity, holds: [heldDevices("a1", "m")] };
    expect(checkClaim(claimOf("n1", ["g"]), node)).toEqual({ kind: "ok" });
    const parents = new Map([["m", "g"]]);
    for (const device of ["g", share("g", 1)]) {
      const outcome = checkClaim(claimOf("n1", [device]), { ...node, parents });
      expect(outcome).toMatchObject({ reason: "taken", deviceUuids: ["g"] });
    }
  });

  it("gives nothing of a device or a node that refuses, and says why", () => {
    const sick = gpuCapacity("g", 4, { refusal: "XID 79", parts: ["m"] });
    const capacity = nodeCapacity("n1", { gpus: [sick] });
    expect(check(claimOf("n1", ["m"]), [], capacity)).toMatchObject({
      reason: "device_refuses",
      message: "node n1: MIG device m of GPU 4 (g) may not be taken: XID 79",
    });
    const cordoned = nodeCapacity("n1", { refusal: "cordoned" });
    expect(check(claimOf("n1"), [], cordoned)).toMatchObject({
      reason: "node_refuses",
      message: "nothing may be taken of node n1: cordoned",
    });
  });

  it.each(["cpuMillis", "memoryMiB", "storageMiB"] as const)("counts %s", (field) => {
    const total = nodeCapacity("n1")[field];
    const holds = [held("a1", claimOf("n1", [], { [field]: total - 5 }))];
    expect(check(claimOf("n1", [], { [field]: 5 }), holds).kind).toBe("ok");
    const outcome = check(claimOf("n1", [], { [field]: 6 }), holds);
    expect(outcome).toMatchObject({ reason: "not_enough", deviceUuids: [] });
    expect(check(claimOf("n1", [], { [field]: -1 }))).toMatchObject({ reason: "invalid" });
    expect(check(claimOf("n1", [], { [field]: Number.NaN }))).toMatchObject({ reason: "invalid" });
  });

  it("gives nothing of a node that has shrunk below what it holds, not even nothing", () => {
    const capacity = nodeCapacity("n1", { cpuMillis: 50 });
    const outcome = check(claimOf("n1", [], { cpuMillis: 0 }), [heldDevices("a1")], capacity);
    expect(outcome).toMatchObject({
      reason: "not_enough",
      message: "node n1 has 0 of 50 CPU millis free (100 are taken), 0 were asked for",
    });
  });
});
