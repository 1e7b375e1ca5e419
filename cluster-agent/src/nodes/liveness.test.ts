import { describe, expect, it } from "vitest";
import { livenessOf } from "./liveness.ts";

describe("livenessOf", () => {
  it.each([
    ["just heard", 0, 1_000, "live"],
    ["silent for exactly the TTL", 1_000, 16_000, "live"],
    ["silent for longer than the TTL", 1_000, 16_001, "telemetry_lost"],
    ["never heard, one TTL after our start", undefined, 15_000, "unknown"],
    ["never heard, later than one TTL after our start", undefined, 15_001, "telemetry_lost"],
  ])("%s", (_what, heardAtMs, nowMs, verdict) => {
    expect(livenessOf({ nowMs, startedAtMs: 0, heardAtMs, ttlMs: 15_000 })).toBe(verdict);
  });

  it.each([
    ["one TTL and that time after it was heard", 1_000, 46_000, "live"],
    ["later than that", 1_000, 46_001, "telemetry_lost"],
    ["never heard, one TTL and that time after our start", undefined, 45_000, "unknown"],
    ["never heard, later than that", undefined, 45_001, "telemetry_lost"],
  ])(
    "does not count the time in which we could not listen: %s",
    (_what, heardAtMs, nowMs, verdict) => {
      const facts = { nowMs, startedAtMs: 0, heardAtMs, excusedMs: 30_000, ttlMs: 15_000 };
      expect(livenessOf(facts)).toBe(verdict);
    },
  );
});
