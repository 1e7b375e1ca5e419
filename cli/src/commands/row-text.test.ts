import { describe, expect, it } from "vitest";
import {
  ageText,
  clockText,
  coresText,
  listText,
  memoryText,
  percentText,
  powerText,
  shareText,
  temperatureText,
} from "./row-text.ts";

describe("texts of measurements", () => {
  it.each<[number | undefined, number | undefined, string]>([
    [1024, 81_920, "1.0/80.0 GiB"],
    [undefined, 81_920, "-/80.0 GiB"],
    [1024, undefined, "1.0/- GiB"],
    [undefined, undefined, "-"],
    [0, 0, "0.0/0.0 GiB"],
    [1_048_576, 20_971_520, "1.0/20.0 TiB"],
  ])("shows %s of %s MiB as %s", (used, total, text) => {
    expect(memoryText(used, total)).toBe(text);
  });

  it.each<[number | undefined, number | undefined, string]>([
    [312.4, 700, "312/700 W"],
    [312.4, undefined, "312 W"],
    [undefined, 700, "-/700 W"],
    [undefined, undefined, "-"],
    [12_345, undefined, "12.3 kW"],
  ])("shows %s W of %s as %s", (watts, limit, text) => {
    expect(powerText(watts, limit)).toBe(text);
  });

  it.each<[number | undefined, string]>([
    [undefined, "-"],
    [Number.NaN, "-"],
    [-5, "0.0s"],
    [400, "0.4s"],
    [9_999, "10.0s"],
    [21_400, "21s"],
    [190_000, "3m10s"],
    [7_500_000, "2h05m"],
    [273_600_000, "3d04h"],
  ])("shows an age of %s ms as %s", (ms, text) => {
    expect(ageText(ms)).toBe(text);
  });

  it("shows a dash for what is not known", () => {
    expect([percentText(undefined), temperatureText(undefined), clockText(undefined)]).toEqual([
      "-",
      "-",
      "-",
    ]);
    expect([percentText(36.6), temperatureText(54), clockText(1980)]).toEqual([
      "37%",
      "54 °C",
      "1980 MHz",
    ]);
    expect([shareText(3, 4), shareText(undefined, 4), shareText(3, undefined)]).toEqual([
      "3/4",
      "4",
      "-",
    ]);
    expect([coresText(3.25, 64), coresText(undefined, 64), coresText(1, undefined)]).toEqual([
      "3.3/64",
      "-/64",
      "-",
    ]);
  });

  it("shortens long lists", () => {
    expect([
      listText([]),
      listText(null),
      listText(["a", "b"]),
      listText(["a", "b", "c", "d"]),
    ]).toEqual(["-", "-", "a, b", "a, b, c +1"]);
  });
});
