import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyText } from "../testing/any-text.ts";
import {
  parseInventoryLine,
  parseSampleLine,
  refusesField,
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

  it.each([
    ["0x0000000000000044", ["sw_power_cap", "hw_thermal_slowdown"]],
    ["0x0000000000000000", undefined],
    ["[Not Supported]", undefined],
  ])("reads the throttle reasons %s behind the other cells", (mask, reasons) => {
    const line = `${UUID}, 97, 43, 70123, 11036, 64, 612.31, 700.00, 1980, 2619, 2, P0, ${mask}`;
    expect(parseSampleLine(line)?.values.throttleReasons).toEqual(reasons);
    expect(parseSampleLine(`${line}, 1`)).toBeUndefined();
  });

  it("never throws, and takes no noise for a reading or a GPU", () => {
    const cell = fc.oneof(
      anyText(40),
      fc.constantFrom(UUID, "[N/A]", "ERR!", "1", "0x1", "99999999999999999999", "-1"),
    );
    const lines = fc.array(cell, { maxLength: 16 }).map((cells) => cells.join(","));
    fc.assert(
      fc.property(lines, (line) => {
        const reading = parseSampleLine(line);
        if (reading !== undefined) expect(line.trim().startsWith(reading.uuid)).toBe(true);
        const gpu = parseInventoryLine(line);
        if (gpu !== undefined) expect(line).toContain(gpu.uuid);
      }),
    );
  });

  it("tells a refused field from other lines", () => {
    expect(refusesField('Field "clocks_event_reasons.active" is not a valid field to query.')).toBe(
      true,
    );
    expect(refusesField("Field of the cloth of gold")).toBe(false);
  });
});
