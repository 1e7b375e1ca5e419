import { describe, expect, it } from "vitest";
import {
  INVENTORY_FIELDS,
  parseInventoryLine,
  parseSampleLine,
  SAMPLE_FIELDS,
  smiArguments,
} from "./smi-fields.ts";

const UUID = "GPU-4f0c2a1e-0b10-4c2d-8e3f-000000000000";

describe("smiArguments", () => {
  it("asks for the fields in order, as bare CSV", () => {
    expect(smiArguments(["uuid", "pstate"])).toEqual([
      "--query-gpu=uuid,pstate",
      "--format=csv,noheader,nounits",
    ]);
  });

  it("adds the loop interval in ms for the sampling child", () => {
    expect(smiArguments(["uuid"], 250).slice(-2)).toEqual(["-lms", "250"]);
  });
});

describe("parseInventoryLine", () => {
  it("reads a GPU with everything the driver can say", () => {
    const line = `3, ${UUID}, NVIDIA H100 80GB HBM3, 00000000:1C:00.0, 81559, Enabled, 700.00, 550.127.05`;
    expect(parseInventoryLine(line)).toMatchObject({
      uuid: UUID,
      driverIndex: 3,
      modelName: "NVIDIA H100 80GB HBM3",
      pciBusId: "00000000:1C:00.0",
      memoryMib: 81_559n,
      migEnabled: true,
      powerLimitW: 700,
      driverVersion: "550.127.05",
    });
  });

  it("leaves absent what the driver does not know, in any of its words", () => {
    const line = `0, ${UUID}, Tesla T4, [N/A], [Not Supported], N/A, [Unknown Error], `;
    const gpu = parseInventoryLine(line);
    expect(gpu).toMatchObject({ uuid: UUID, driverIndex: 0, pciBusId: "", driverVersion: "" });
    expect(gpu?.memoryMib).toBeUndefined();
    expect(gpu?.migEnabled).toBeUndefined();
    expect(gpu?.powerLimitW).toBeUndefined();
  });

  it.each([
    ["a warning", "WARNING: infoROM is corrupted at gpu 0000:01:00.0"],
    ["an empty line", ""],
    ["too few cells", `0, ${UUID}, Tesla T4`],
    ["too many cells", `0, ${UUID}, a, b, c, d, e, f, g`],
    ["a missing UUID", "0, [Unknown Error], Tesla T4, x, 1, Enabled, 1, 1"],
    ["a missing index", `[N/A], ${UUID}, Tesla T4, x, 1, Enabled, 1, 1`],
    ["a negative index", `-1, ${UUID}, Tesla T4, x, 1, Enabled, 1, 1`],
  ])("does not take %s for a GPU", (_what, line) => {
    expect(parseInventoryLine(line)).toBeUndefined();
  });
});

describe("parseSampleLine", () => {
  it("reads every value with its unit", () => {
    const line = `${UUID}, 97, 43, 70123, 11036, 64, 612.31, 700.00, 1980, 2619, 2, P0`;
    expect(parseSampleLine(line)).toEqual({
      uuid: UUID,
      values: {
        utilizationPercent: 97,
        memoryUtilizationPercent: 43,
        memoryUsedMib: 70_123n,
        memoryFreeMib: 11_036n,
        temperatureC: 64,
        powerW: 612.31,
        powerLimitW: 700,
        smClockMhz: 1_980,
        memoryClockMhz: 2_619,
        eccUncorrectedTotal: 2n,
        performanceState: "P0",
      },
    });
  });

  it.each([
    "[N/A]",
    "N/A",
    "[Not Supported]",
    "[Unknown Error]",
    "[Insufficient Permissions]",
    "",
    "nan",
    "1e999",
    "0x10",
    "12 W",
    "99999999999999999999",
  ])("leaves a value absent when its cell is %j", (word) => {
    const line = [UUID, ...Array<string>(SAMPLE_FIELDS.length - 1).fill(word)].join(", ");
    expect(parseSampleLine(line)).toEqual({ uuid: UUID, values: {} });
  });

  it("keeps out values that no GPU can have", () => {
    const line = `${UUID}, 101, -1, -5, 1.5, 64, 1, 1, -2, 99999999999, -1, fast`;
    expect(parseSampleLine(line)?.values).toEqual({ temperatureC: 64, powerW: 1, powerLimitW: 1 });
  });

  it("does not throw on noise and takes none of it for a reading", () => {
    let state = 7;
    const next = (bound: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return state % bound;
    };
    for (let round = 0; round < 2_000; round += 1) {
      const line = Array.from({ length: next(80) }, () => String.fromCharCode(next(300))).join("");
      expect(parseSampleLine(line)).toBeUndefined();
      expect(parseInventoryLine(`${line},${",".repeat(next(INVENTORY_FIELDS.length))}`)).toBe(
        undefined,
      );
    }
  });
});
