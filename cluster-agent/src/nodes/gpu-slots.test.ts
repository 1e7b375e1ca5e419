import { describe, expect, it } from "vitest";
import { bindSlots, MAX_GPU_SLOTS } from "./gpu-slots.ts";
import type { GpuInventory, GpuSlot } from "./inventory.ts";

function gpus(...uuids: string[]): GpuInventory[] {
  return uuids.map((uuid, driverIndex) => ({
    uuid,
    driverIndex,
    modelName: "T4",
    memoryMiB: 16_384,
    pciBusId: "",
    driverVersion: "",
  }));
}

function bound(before: readonly GpuSlot[], now: readonly GpuInventory[]): readonly GpuSlot[] {
  const result = bindSlots(before, now);
  if (result.kind === "full") throw new Error("unexpectedly full");
  return result.slots;
}

describe("bindSlots", () => {
  it.each([
    ["gives slots in the driver's order at first sight", [], ["b", "a"], ["b", "a"]],
    ["keeps slots when the driver reorders", ["a", "b"], ["b", "a"], ["a", "b"]],
    ["keeps the slot of a GPU that is gone", ["a", "b", "c"], ["a", "c"], ["a", "b", "c"]],
    ["gives a new GPU the next slot", ["a", "b"], ["c", "b"], ["a", "b", "c"]],
    ["gives a GPU that comes back its old slot", ["a", "b"], ["b"], ["a", "b"]],
  ])("%s", (_what, before, now, expected) => {
    const slots = bound(bound([], gpus(...before)), gpus(...now));
    expect(slots.map((slot) => slot.uuid)).toEqual(expected);
  });

  it("keeps what is known of a GPU that is gone", () => {
    const [slot] = bound(bound([], gpus("a")), []);
    expect(slot).toEqual({ uuid: "a", modelName: "T4", memoryMiB: 16_384 });
  });

  it("refuses more slots than its limit", () => {
    const many = Array.from({ length: MAX_GPU_SLOTS }, (_, index) => `g${index}`);
    const slots = bound([], gpus(...many));
    expect(bindSlots(slots, gpus("one-more"))).toEqual({ kind: "full", limit: MAX_GPU_SLOTS });
  });
});
