import { GpuDetailsSchema, Quality } from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { checkGpuDetails, PROCESS_LIMITS } from "./check-details.ts";

const part = {
  uuid: "MIG-1",
  index: 0,
  gpuInstanceId: 1,
  computeInstanceId: 0,
  profile: "3g.20gb",
};
const gpu = { uuid: "GPU-1", migDevices: [part] };
const details = (values: MessageInitShape<typeof GpuDetailsSchema>) =>
  create(GpuDetailsSchema, { ageMs: 5, quality: Quality.MEASURED, ...values });

describe("checkGpuDetails", () => {
  it("keeps what holds as plain values", () => {
    const { reading, problems } = checkGpuDetails(
      details({
        eccCorrectedTotal: 3n,
        remappedRowsCorrectable: 1,
        rowRemapPending: false,
        powerW: 71.5,
        throttleReasons: ["gpu_idle", "gpu_idle"],
        processes: [
          { pid: 7, name: "python3", memoryUsedMib: 512n, instanceId: "instance-1" },
          { pid: 8, name: "Xorg" },
        ],
        migDevices: [{ uuid: "MIG-1", memoryUsedMib: 10n, memoryFreeMib: 20n }],
      }),
      gpu,
    );
    expect(problems).toEqual([]);
    expect(reading).toEqual({
      ageMs: 5,
      quality: "measured",
      eccCorrectedTotal: 3,
      remappedRowsCorrectable: 1,
      rowRemapPending: false,
      powerW: 71.5,
      throttleReasons: ["gpu_idle"],
      processes: [
        { pid: 7, name: "python3", memoryUsedMiB: 512, instanceId: "instance-1" },
        { pid: 8, name: "Xorg" },
      ],
      migDevices: [{ uuid: "MIG-1", memoryUsedMiB: 10, memoryFreeMiB: 20 }],
    });
  });

  it("leaves out what does not hold and names it, and keeps the rest", () => {
    const { reading, problems } = checkGpuDetails(
      details({
        powerW: Number.NaN,
        eccCorrectedTotal: 3n,
        throttleReasons: ["Sleepy!", "sw_power_cap"],
        processes: [{ pid: 1, name: `n\n${"x".repeat(500)}`, instanceId: "not an id" }],
        migDevices: [{ uuid: "MIG-2" }, { uuid: "MIG-1" }, { uuid: "MIG-1" }],
      }),
      gpu,
    );
    expect(problems.map(({ field }) => field)).toEqual([
      "gpu GPU-1 details powerW",
      "gpu GPU-1 details throttleReasons",
      "gpu GPU-1 details processes.instanceId",
      "gpu GPU-1 details migDevices",
      "gpu GPU-1 details migDevices",
    ]);
    expect(reading).not.toHaveProperty("powerW");
    expect(reading).toMatchObject({
      eccCorrectedTotal: 3,
      throttleReasons: ["sw_power_cap"],
      migDevices: [{ uuid: "MIG-1" }],
    });
    expect(reading.processes).toEqual([{ pid: 1, name: `n ${"x".repeat(126)}` }]);
  });

  it("keeps at most so many programs", () => {
    const processes = Array.from({ length: PROCESS_LIMITS.gpu + 1 }, (_none, pid) => ({ pid }));
    const { reading, problems } = checkGpuDetails(details({ processes }), gpu);
    expect(reading.processes).toHaveLength(PROCESS_LIMITS.gpu);
    expect(problems).toHaveLength(1);
  });
});
