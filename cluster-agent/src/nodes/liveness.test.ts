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
    ["heard, then one TTL after we could listen again", 1_000, 45_000, "live"],
    ["heard, then later than that", 1_000, 45_001, "telemetry_lost"],
    ["never heard, one TTL after we could listen again", undefined, 45_000, "unknown"],
    ["heard since we could listen again", 40_000, 55_000, "live"],
  ])("excuses silence: %s", (_what, heardAtMs, nowMs, verdict) => {
    const facts = { nowMs, startedAtMs: 0, heardAtMs, excusedAtMs: 30_000, ttlMs: 15_000 };
    expect(livenessOf(facts)).toBe(verdict);
  });
});
