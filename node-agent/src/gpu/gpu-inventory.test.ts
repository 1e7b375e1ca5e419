import { GpuInfoSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { judge } from "./gpu-inventory.ts";
import { nextInventory } from "./gpu-monitor.ts";

const gpu = create(GpuInfoSchema, { uuid: "GPU-00000000" });
const exited = (code: number) => ({ kind: "exited", code, signal: null }) as const;

describe("judge", () => {
  it("takes a missing executable for a node without GPUs, not for an error", () => {
    expect(judge({ kind: "not_found" }, [], "")).toEqual({ kind: "no_driver" });
  });

  it("lists what was read; a warning beside it is no error", () => {
    const listing = judge(exited(0), [gpu], "WARNING: infoROM is corrupted");
    expect(listing).toEqual({ kind: "listed", gpus: [gpu], error: "" });
  });

  it("lists what was read and says what failed when the query failed in part", () => {
    const line = "Unable to determine the device handle for GPU1: Unknown Error";
    expect(judge(exited(255), [gpu], line)).toEqual({ kind: "listed", gpus: [gpu], error: line });
  });

  it("takes a driver without devices for an empty list with its reason", () => {
    const line = "No devices were found";
    expect(judge(exited(6), [], line)).toEqual({ kind: "listed", gpus: [], error: line });
  });

  it.each([
    [exited(9), "NVIDIA-SMI has failed", "NVIDIA-SMI has failed"],
    [exited(1), "", "nvidia-smi ended with code 1 and listed no GPU"],
    [
      { kind: "exited", code: null, signal: "SIGSEGV" } as const,
      "",
      "nvidia-smi ended with signal SIGSEGV and listed no GPU",
    ],
    [
      { kind: "not_started", message: "EACCES" } as const,
      "",
      "nvidia-smi could not be started: EACCES",
    ],
  ])("is a failure with a reason after %j", (end, line, error) => {
    expect(judge(end, [], line)).toEqual({ kind: "failed", error });
  });
});

describe("nextInventory", () => {
  const before = { gpus: [gpu], error: "" };

  it("keeps the GPUs it knows when the driver cannot list them, and says why", () => {
    const next = nextInventory(before, { kind: "failed", error: "no driver" });
    expect(next).toEqual({ gpus: [gpu], error: "no driver" });
  });

  it("names the reason driver_hung when nvidia-smi does not die", () => {
    const next = nextInventory(before, { kind: "driver_hung", gone: Promise.resolve() });
    expect(next.gpus).toEqual([gpu]);
    expect(next.error).toMatch(/^driver_hung/);
  });

  it("follows a listing that succeeded, also to none", () => {
    const next = nextInventory(before, {
      kind: "listed",
      gpus: [],
      error: "No devices were found",
    });
    expect(next).toEqual({ gpus: [], error: "No devices were found" });
  });

  it("has no error on a machine that never had a driver", () => {
    const next = nextInventory({ gpus: [], error: "" }, { kind: "no_driver" });
    expect(next).toEqual({ gpus: [], error: "" });
  });
});
