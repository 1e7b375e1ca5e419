import { expect, it } from "vitest";
import { throttleReasons } from "./throttle-reasons.ts";

it.each([
  ["0x0000000000000000", []],
  ["0x0000000000000001", ["gpu_idle"]],
  [
    "0x000000000000006C",
    ["sw_power_cap", "hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown"],
  ],
  [" 0x80 ", ["hw_power_brake_slowdown"]],
  ["0x112", ["applications_clocks_setting", "sync_boost", "display_clocks_setting"]],
  ["0x8000000000000404", ["sw_power_cap", "unknown_0x8000000000000400"]],
])("names the reasons in %s", (mask, reasons) => {
  expect(throttleReasons(mask)).toEqual(reasons);
});

it.each([
  "[Not Supported]",
  "N/A",
  "",
  "4",
  "0x",
  "0xg",
  "0x11111111111111111",
  "Active",
  undefined,
])("finds none in %j", (cell) => {
  expect(throttleReasons(cell)).toEqual([]);
});
