import { loadConfig } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { settings } from "./settings.ts";

const load = (interval: string) =>
  loadConfig(settings, { BERTH_ENROLMENT_TOKEN: "t", BERTH_SIM_INTERVAL_MS: interval });

describe("BERTH_SIM_INTERVAL_MS", () => {
  it.each([
    ["", 0],
    ["0", 0],
    ["250", 250],
    ["600000", 600_000],
  ])("takes %j", (text, intervalMs) => {
    expect(load(text)).toMatchObject({ kind: "loaded", config: { intervalMs } });
  });

  it.each(["1", "100", "249", "600001", "-1", "soon"])("refuses %j by name", (text) => {
    const expected = "expected a whole number of ms from 250 to 600000, or 0";
    const problem = `BERTH_SIM_INTERVAL_MS=${JSON.stringify(text)}: ${expected}`;
    expect(load(text)).toEqual({ kind: "invalid", problems: [problem] });
  });
});
