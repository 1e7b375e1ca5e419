import { GpuInfoSchema, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { detailsOf, HeldDetails } from "./gpu-details.ts";

const part = (index: number) => ({ index, gpuInstanceId: index, computeInstanceId: 0 });
const gpu = (uuid: string) =>
  create(GpuInfoSchema, { uuid, migDevices: [{ uuid: `MIG-of-${uuid}`, ...part(2) }] });
const logged = (uuid: string, eccCorrectedTotal = 1n) => ({
  uuid,
  eccCorrectedTotal,
  throttleReasons: ["gpu_idle"],
  processes: [{ pid: 7, name: "x", instanceId: "i-1" }],
  migDevices: [{ ...part(2), memoryUsedMib: 5n }, part(3)],
});
const log = (...gpus: ReturnType<typeof logged>[]) => ({ cudaVersion: "", gpus });

it("names MIG parts by the inventory's UUIDs and leaves out those it does not know", () => {
  const details = detailsOf(logged("a"), gpu("a"));
  expect(details.migDevices).toMatchObject([{ uuid: "MIG-of-a", memoryUsedMib: 5n }]);
  expect(details.processes).toMatchObject([{ pid: 7, name: "x", instanceId: "i-1" }]);
  expect(details).toMatchObject({ eccCorrectedTotal: 1n, throttleReasons: ["gpu_idle"] });
  expect(details.rowRemapPending).toBeUndefined();
});

it("has none before the first log, then measured, and stale after three intervals", () => {
  const held = new HeldDetails(60_000);
  expect(held.of("a", 0)).toBeUndefined();
  held.accept(log(logged("a")), [gpu("a")], 1_000);
  expect(held.of("a", 181_000)).toMatchObject({ quality: Quality.MEASURED, ageMs: 180_000 });
  expect(held.staleCount(181_000)).toBe(0);
  expect(held.of("a", 181_001)).toMatchObject({ quality: Quality.STALE, eccCorrectedTotal: 1n });
  expect(held.staleCount(181_001)).toBe(1);
  held.accept(log(logged("a", 2n)), [gpu("a")], 200_000);
  expect(held.of("a", 200_000)).toMatchObject({ quality: Quality.MEASURED, ageMs: 0 });
  expect(held.staleCount(200_000)).toBe(0);
});

it("keeps the older details of a GPU that a log does not name, and drops those of a GPU that left", () => {
  const held = new HeldDetails(60_000);
  held.accept(log(logged("a"), logged("b"), logged("c")), [gpu("a"), gpu("b")], 0);
  expect(held.of("c", 0)).toBeUndefined();
  held.accept(log(logged("b", 9n)), [gpu("a"), gpu("b")], 60_000);
  expect(held.of("a", 60_000)).toMatchObject({ ageMs: 60_000, eccCorrectedTotal: 1n });
  expect(held.of("b", 60_000)).toMatchObject({ ageMs: 0, eccCorrectedTotal: 9n });
  held.accept(log(), [gpu("b")], 61_000);
  expect(held.of("a", 61_000)).toBeUndefined();
});

it("gives copies: what one reader gets keeps its age", () => {
  const held = new HeldDetails(60_000);
  held.accept(log(logged("a")), [gpu("a")], 0);
  const first = held.of("a", 1);
  held.of("a", 999);
  expect(first?.ageMs).toBe(1);
});
