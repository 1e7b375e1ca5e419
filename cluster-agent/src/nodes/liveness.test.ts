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
});
