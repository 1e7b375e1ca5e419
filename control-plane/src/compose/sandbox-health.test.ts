import { createLogger } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { SandboxHealth } from "./sandbox-health.ts";

const idle = { workers: [], running: 0, slow: 0, queued: 0 };

describe("SandboxHealth", () => {
  it("tells why there is no snapshot for as long as there is none", () => {
    const health = new SandboxHealth(createLogger({ program: "test", level: "silent" }));
    expect(health.readiness({ ...idle, snapshot: "building" })).toEqual({
      ...{ snapshot: "building", workers: 0 },
      ...{ running: 0, slow: 0, queued: 0 },
    });
    health.onEvent({ kind: "snapshot_failed", message: "ENOSPC: no space left on device, write" });
    for (const snapshot of ["failed", "building"] as const) {
      expect(health.readiness({ ...idle, snapshot })).toMatchObject({
        failure: "ENOSPC: no space left on device, write",
      });
    }
    expect(health.readiness({ ...idle, snapshot: "ready" })).not.toHaveProperty("failure");
    health.onEvent({ kind: "snapshot_built", elapsedMs: 1, sizeBytes: 1 });
    expect(health.readiness({ ...idle, snapshot: "building" })).not.toHaveProperty("failure");
  });
});
