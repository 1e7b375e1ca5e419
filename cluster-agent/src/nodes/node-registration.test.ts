import { describe, expect, it } from "vitest";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { checkRegistration } from "./check-fingerprint.ts";
import type { Liveness } from "./liveness.ts";
import { registeredRecord } from "./node-record.ts";
import { duplicateRefusal, MAX_NODES, placeRefusal } from "./node-registration.ts";
import { speakerRefusal } from "./node-speaker.ts";

const asking = (machineId: string) =>
  checkRegistration(registerRequest({ fingerprint: fingerprint({ machineId }) }));
const record = registeredRecord(asking("machine-a"), undefined, "");

describe("placeRefusal", () => {
  it.each<[string, Liveness, string, string]>([
    ["while it is live", "live", "machine-b", "choose another BERTH_NODE_ID"],
    ["when it is lost", "telemetry_lost", "machine-b", "until an operator removes it"],
  ])("refuses another machine the id of a node %s", (_what, liveness, machineId, message) => {
    const refusal = placeRefusal(asking(machineId), { record, liveness }, 1);
    expect(refusal?.reason).toBe("ALREADY_EXISTS");
    expect(refusal?.message).toContain('node "node-a"');
    expect(refusal?.message).toContain(message);
  });

  it("lets the machine itself come again", () => {
    const known = { record, liveness: "live" } as const;
    expect(placeRefusal(asking("machine-a"), known, MAX_NODES)).toBeUndefined();
  });

  it("takes so many nodes and no more", () => {
    expect(placeRefusal(asking("machine-a"), undefined, MAX_NODES - 1)).toBeUndefined();
    expect(placeRefusal(asking("machine-a"), undefined, MAX_NODES)).toMatchObject({
      reason: "OVERLOADED",
      message: expect.stringMatching(/^node_id: .*10000/),
    });
  });
});

describe("speakerRefusal", () => {
  it("lets a key speak for the node and the machine that it was enrolled for only", () => {
    const speaker = { id: "node-a", identity: "machine:machine-a" };
    expect(speakerRefusal(speaker, asking("machine-a"))).toBeUndefined();
    expect(speakerRefusal(speaker, asking("machine-b"))).toMatchObject({
      reason: "PERMISSION_DENIED",
      message: expect.stringContaining("fingerprint.identity.machine_id"),
    });
    expect(speakerRefusal({ ...speaker, id: "node-b" }, asking("machine-a"))).toMatchObject({
      reason: "PERMISSION_DENIED",
      message: expect.stringMatching(/^node_id: .*"node-a".*"node-b"/),
    });
  });
});

describe("duplicateRefusal", () => {
  it.each([
    ["wait", "UNAVAILABLE", "try again"],
    ["duplicate", "ALREADY_EXISTS", "POST /nodes/n/pick"],
    ["refused", "ALREADY_EXISTS", "BERTH_NODE_ID of its own"],
  ] as const)("says after %s what can be done", (verdict, reason, message) => {
    const refusal = duplicateRefusal("n", verdict);
    expect(refusal?.reason).toBe(reason);
    expect(refusal?.message).toContain(message);
  });

  it("lets in who is taken", () => {
    expect(duplicateRefusal("n", "taken")).toBeUndefined();
  });
});
