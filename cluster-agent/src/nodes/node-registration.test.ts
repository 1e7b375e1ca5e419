import { describe, expect, it } from "vitest";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { checkRegistration } from "./check-fingerprint.ts";
import type { Liveness } from "./liveness.ts";
import { registrationRefusal } from "./node-registration.ts";

const first = checkRegistration(registerRequest({ nodeIncarnation: 5n }));
const record = {
  machineId: "machine-a",
  incarnation: 5,
  agentVersion: "0.1.0",
  inventory: first.inventory,
  slots: [],
  firstSeenAt: "",
};

describe("registrationRefusal", () => {
  it.each<[string, Liveness, string, bigint, string | undefined]>([
    ["takes the same agent again", "live", "machine-a", 5n, undefined],
    ["takes a newer start", "live", "machine-a", 6n, undefined],
    ["refuses an older start while the newest is live", "live", "machine-a", 4n, "CONFLICT"],
    [
      "refuses an older start while the newest may be there",
      "unknown",
      "machine-a",
      4n,
      "CONFLICT",
    ],
    ["takes an older number once the newest is lost", "telemetry_lost", "machine-a", 1n, undefined],
    ["refuses another machine while live", "live", "machine-b", 9n, "ALREADY_EXISTS"],
    ["refuses another machine when lost", "telemetry_lost", "machine-b", 9n, "ALREADY_EXISTS"],
  ])("%s", (_what, liveness, machineId, nodeIncarnation, reason) => {
    const print = fingerprint({ machineId });
    const asked = checkRegistration(registerRequest({ nodeIncarnation, fingerprint: print }));
    const refusal = registrationRefusal({ record, liveness }, asked);
    expect(refusal?.reason).toBe(reason);
    if (refusal !== undefined) expect(refusal.message).toContain('node "node-a"');
  });

  it("tells who can free the id of a lost machine", () => {
    const asked = checkRegistration(
      registerRequest({ fingerprint: fingerprint({ machineId: "machine-b" }) }),
    );
    const refusal = registrationRefusal({ record, liveness: "telemetry_lost" }, asked);
    expect(refusal?.message).toContain("until an operator removes it");
  });
});
