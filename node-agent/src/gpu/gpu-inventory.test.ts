import { GpuInfoSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { loadSmiFixture, type SmiFixtureName } from "../testing/smi-fixture.ts";
import {
  hasOtherParts,
  type InventorySources,
  inventoryOf,
  isOtherSet,
  isSameInventory,
  judge,
  nextKnown,
  remarksOf,
  tellsOfLostGpu,
} from "./gpu-inventory.ts";
import { parseMigList } from "./smi-list.ts";
import { parseTopology } from "./smi-topology.ts";
import { parseSmiXml } from "./smi-xml.ts";

const gpu = create(GpuInfoSchema, { uuid: "GPU-00000000" });
const exited = (code: number) => ({ kind: "exited", code, signal: null }) as const;
const LOST = "Unable to determine the device handle for GPU1: 0000:43:00.0: Unknown Error";
const WARNING = "WARNING: infoROM is corrupted at gpu 0000:01:00.0";

describe("judge", () => {
  it("takes a missing executable for a node without GPUs, not for an error", () => {
    expect(judge({ kind: "not_found" }, [], [])).toEqual({ kind: "no_driver" });
  });

  it("lists what was read; a warning beside it is a remark and no error", () => {
    const listing = judge(exited(0), [gpu], [WARNING, WARNING]);
    expect(listing).toEqual({ kind: "listed", gpus: [gpu], error: "", remarks: [WARNING] });
  });

  it.each([255, 0])("says which GPU was lost beside those it read, after code %i", (code) => {
    expect(judge(exited(code), [gpu], [WARNING, LOST])).toEqual({
      kind: "listed",
      gpus: [gpu],
      error: LOST,
      remarks: [WARNING, LOST],
    });
  });

  it("says what failed when the query failed in part for another reason", () => {
    expect(judge(exited(9), [gpu], ["Something broke"])).toMatchObject({
      error: "Something broke",
    });
  });

  it("never takes a list that broke off without a reason for the whole", () => {
    const killed = { kind: "exited", code: null, signal: "SIGSEGV" } as const;
    expect(judge(killed, [gpu], [])).toMatchObject({
      error: "nvidia-smi ended with signal SIGSEGV in the middle of its list",
    });
  });

  it("takes a driver without devices for an empty list with its reason", () => {
    const line = "No devices were found";
    const none = { kind: "listed", gpus: [], error: line, remarks: [] };
    expect(judge(exited(6), [], [line])).toEqual(none);
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
    expect(judge(end, [], line === "" ? [] : [line])).toEqual({ kind: "failed", error });
  });
});

it.each([
  "Unable to determine the device handle for GPU3: 0000:5F:00.0: Unknown Error",
  "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error",
  "Unable to determine the device handle for GPU 0000:01:00.0: Not Found",
])("takes %j for a lost GPU", (line) => {
  expect(tellsOfLostGpu(line)).toBe(true);
  expect(tellsOfLostGpu(WARNING)).toBe(false);
});

it("keeps few remarks, each once and cut", () => {
  const lines = Array.from({ length: 100 }, (_none, at) => `${at % 20} ${"x".repeat(999)}`);
  const remarks = remarksOf(lines);
  expect(remarks).toHaveLength(16);
  expect(new Set(remarks).size).toBe(16);
  expect(remarks.every((line) => line.length === 300)).toBe(true);
});

describe("nextKnown", () => {
  const before = { gpus: [gpu], error: "", remarks: [WARNING] };

  it("keeps the GPUs it knows when the driver cannot list them, and says why", () => {
    const next = nextKnown(before, { kind: "failed", error: "no driver" });
    expect(next).toEqual({ gpus: [gpu], error: "no driver", remarks: [WARNING] });
  });

  it.each([{ kind: "driver_hung" }, { kind: "aborted" }] as const)(
    "learns nothing of %j",
    (end) => {
      expect(nextKnown(before, end)).toEqual(before);
    },
  );

  it("follows a listing that succeeded, also to none", () => {
    const none = { gpus: [], error: "No devices were found", remarks: [] };
    expect(nextKnown(before, { kind: "listed", ...none })).toEqual(none);
  });

  it("has no error on a machine that never had a driver, and one where it went away", () => {
    const empty = { gpus: [], error: "", remarks: [] };
    expect(nextKnown(empty, { kind: "no_driver" })).toEqual(empty);
    expect(nextKnown(before, { kind: "no_driver" }).error).toMatch(/no longer installed/);
  });
});

async function sources(name: SmiFixtureName): Promise<InventorySources> {
  const { xml, topo, list } = await loadSmiFixture(name);
  const log = parseSmiXml(xml);
  const gpus = (log?.gpus ?? []).map(({ uuid, migEnabled }, driverIndex) =>
    create(GpuInfoSchema, {
      uuid,
      driverIndex,
      ...(migEnabled === undefined ? {} : { migEnabled }),
    }),
  );
  const parts = parseMigList(list.split("\n"));
  const matrix = parseTopology(topo.split("\n"));
  const known = { gpus, error: "", remarks: [] };
  return {
    known,
    survey: { gpus, parts, matrix, log, incomplete: false },
    driverHung: false,
    logRemarks: [],
  };
}

describe("inventoryOf", () => {
  it("puts together what the queries tell of GPUs with MIG parts", async () => {
    const { gpus, topology } = inventoryOf(await sources("a100-mig"));
    expect(gpus.map((one) => one.migDevices.length)).toEqual([2, 4, 7, 0]);
    expect(gpus[1]).toMatchObject({ cudaVersion: "12.0", minorNumber: 1, powerLimitW: 400 });
    expect(gpus[1]?.migDevices[1]).toMatchObject({
      uuid: "MIG-483ada07-2ab2-b24f-65d8-7a02ec74bf07",
      index: 1,
      gpuInstanceId: 5,
      computeInstanceId: 0,
      profile: "2g.10gb",
      memoryMib: 9_984n,
    });
    expect(topology?.nics).toEqual(["mlx5_0", "mlx5_1"]);
    expect(topology?.rows[2]).toMatchObject({
      links: ["NV4", "NV4", "X", "NV4", "SYS", "PXB"],
      cpuAffinity: "24-47",
      numaAffinity: "1",
    });
  });

  it("keeps the links right when GPUs are lost and the rest are numbered anew", async () => {
    const before = await sources("h100");
    const rest = before.known.gpus.slice(3).map((one, driverIndex) => {
      const { uuid } = one;
      return create(GpuInfoSchema, { uuid, driverIndex });
    });
    const { topology } = inventoryOf({ ...before, known: { ...before.known, gpus: rest } });
    expect(topology?.rows).toHaveLength(5);
    expect(topology?.rows[0]?.links).toEqual(
      ["X", "NV18", "NV18", "NV18", "NV18"].concat([
        "NODE",
        "NODE",
        "NODE",
        "PXB",
        "SYS",
        "SYS",
        "SYS",
        "SYS",
        "NODE",
        "SYS",
      ]),
    );
  });

  it("has GPUs without a survey, and says why they cannot be read while the driver hangs", () => {
    const known = { gpus: [gpu], error: "", remarks: [WARNING] };
    const inventory = inventoryOf({
      known,
      survey: undefined,
      driverHung: true,
      logRemarks: [WARNING, "another"],
    });
    expect(inventory).toMatchObject({ driverHung: true, topology: undefined });
    expect(inventory.gpus).toEqual([gpu]);
    expect(inventory.error).toMatch(/^driver_hung/);
    expect(inventory.remarks).toEqual([WARNING, "another"]);
  });

  it("lists no part whose instance ids the log does not tell", async () => {
    const before = await sources("a100-mig");
    if (before.survey === undefined) throw new Error("expected a survey");
    const { gpus } = inventoryOf({ ...before, survey: { ...before.survey, log: undefined } });
    expect(gpus.every((one) => one.migDevices.length === 0)).toBe(true);
  });

  it("is the same as itself, and another one when anything differs", async () => {
    const of = await sources("a100-mig");
    const inventory = inventoryOf(of);
    expect(isSameInventory(inventory, inventoryOf(of))).toBe(true);
    const others = [
      { ...of, driverHung: true },
      { ...of, logRemarks: ["a"] },
      { ...of, survey: undefined },
      { ...of, known: { ...of.known, error: "x" } },
      { ...of, known: { ...of.known, gpus: of.known.gpus.slice(1) } },
    ];
    for (const other of others) expect(isSameInventory(inventory, inventoryOf(other))).toBe(false);
  });
});

it("asks for another survey when GPUs come, go, move or switch MIG", () => {
  const info = (driverIndex: number, migEnabled = false) =>
    create(GpuInfoSchema, { uuid: `GPU-0000000${driverIndex}`, driverIndex, migEnabled });
  const set = [info(0), info(1)];
  expect(isOtherSet(set, [info(0), info(1)])).toBe(false);
  expect(isOtherSet(set, [info(0)])).toBe(true);
  expect(isOtherSet(set, [info(1), info(0)])).toBe(true);
  expect(isOtherSet(set, [info(0), info(1, true)])).toBe(true);
});

it("notices parts that were cut or removed since the survey, or that it could not list", async () => {
  const { survey } = await sources("a100-mig");
  const log = survey?.log;
  if (survey === undefined || log === undefined) throw new Error("expected a log");
  expect(hasOtherParts(log, survey)).toBe(false);
  const [first, ...rest] = log.gpus;
  if (first === undefined) throw new Error("expected a GPU");
  const uncut = { ...log, gpus: [{ ...first, migDevices: [] }, ...rest] };
  expect(hasOtherParts(uncut, survey)).toBe(true);
  expect(hasOtherParts(log, { ...survey, log: uncut })).toBe(true);
  expect(hasOtherParts(log, { ...survey, log: undefined })).toBe(true);
  expect(hasOtherParts(log, { ...survey, parts: undefined })).toBe(true);
  expect(hasOtherParts({ ...log, gpus: [] }, survey)).toBe(false);
});
