import type { Fingerprint } from "@berth/proto";
import { GpuTopologySchema, MigDeviceInfoSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { fingerprint } from "../testing/fixtures.ts";
import { checkFingerprint } from "./check-fingerprint.ts";

function withTopology(): Fingerprint {
  const print = fingerprint({ gpus: ["GPU-1", "GPU-2"] });
  print.gpuTopology = create(GpuTopologySchema, {
    nics: ["mlx5_0"],
    rows: [
      { uuid: "GPU-1", links: ["X", "NV18", "PIX"], cpuAffinity: "0-51", numaAffinity: "0" },
      { uuid: "GPU-2", links: ["NV18", "X", "SYS"], cpuAffinity: "52-103", numaAffinity: "1" },
    ],
  });
  return print;
}

describe("the GPUs of a fingerprint", () => {
  it("are kept with topology, MIG parts, CUDA version and minor number", () => {
    const print = withTopology();
    const [gpu] = print.gpus;
    if (gpu === undefined) throw new Error("no GPU");
    Object.assign(gpu, { cudaVersion: "12.4", minorNumber: 3, migEnabled: true });
    const part = { uuid: "MIG-1", index: 0, gpuInstanceId: 1, profile: "3g.20gb" };
    gpu.migDevices.push(create(MigDeviceInfoSchema, { ...part, memoryMib: 20_096n }));
    print.simulated = true;
    const inventory = checkFingerprint(print);
    expect(inventory.simulated).toBe(true);
    expect(inventory.gpus[0]).toMatchObject({
      cudaVersion: "12.4",
      minorNumber: 3,
      migDevices: [{ ...part, computeInstanceId: 0, memoryMiB: 20_096 }],
    });
    expect(inventory.gpuTopology).toEqual({
      nics: ["mlx5_0"],
      rows: [
        { uuid: "GPU-1", links: ["X", "NV18", "PIX"], cpuAffinity: "0-51", numaAffinity: "0" },
        { uuid: "GPU-2", links: ["NV18", "X", "SYS"], cpuAffinity: "52-103", numaAffinity: "1" },
      ],
    });
  });

  it("have no key for what the driver does not say", () => {
    const inventory = checkFingerprint(fingerprint({ gpus: ["GPU-1"] }));
    for (const key of ["gpuTopology", "simulated"]) expect(inventory).not.toHaveProperty(key);
    for (const key of ["cudaVersion", "minorNumber", "migDevices"]) {
      expect(inventory.gpus[0]).not.toHaveProperty(key);
    }
  });

  const bad: [string, (print: Fingerprint) => void, RegExp][] = [
    [
      "a row of a GPU that is not listed",
      (print) => print.gpus.pop(),
      /gpu_topology\.rows: expected at most 1 items, got 2/,
    ],
    [
      "a GPU with two rows",
      (print) => {
        for (const row of print.gpuTopology?.rows ?? []) row.uuid = "GPU-1";
      },
      /gpu_topology\.rows\.1\.uuid: expected a GPU of the fingerprint, each once, got GPU-1/,
    ],
    [
      "a row that is too long",
      (print) => print.gpuTopology?.rows[0]?.links.push("SYS"),
      /gpu_topology\.rows\.0\.links: expected at most 3 items, got 4/,
    ],
    [
      "a path that is none",
      (print) => print.gpuTopology?.rows[0]?.links.splice(0, 1, "x".repeat(17)),
      /gpu_topology\.rows\.0\.links\.0: expected at most 16 characters/,
    ],
    [
      "one MIG part twice",
      (print) => {
        const part = create(MigDeviceInfoSchema, { uuid: "MIG-1" });
        for (const gpu of print.gpus) gpu.migDevices.push(part);
      },
      /mig_devices\.uuid: expected different values, got MIG-1 twice/,
    ],
    [
      "too many network cards",
      (print) => print.gpuTopology?.nics.push(...Array(192).fill("nic")),
      /gpu_topology\.nics: expected at most 192 items, got 193/,
    ],
  ];

  it.each(bad)("are refused with %s", (_what, spoil, message) => {
    const print = withTopology();
    spoil(print);
    expect(() => checkFingerprint(print)).toThrow(message);
  });
});
