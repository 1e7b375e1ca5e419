import { describe, expect, it } from "vitest";
import { type Asked, type FleetFacts, findings } from "./doctor-findings.ts";

const told = (data: unknown): Asked => ({ kind: "told", data });

/** A fleet of one cluster where nothing is wrong. */
function facts(over: Partial<FleetFacts> = {}): FleetFacts {
  const cluster = {
    clusterId: "c1",
    ledger: told({ state: "open" }),
    nodes: told([{ id: "n1", state: "ready", liveness: "live" }]),
    prechecks: told({ hooks: { add_block: null }, unknown_keys: [] }),
  };
  return {
    fleet: told({ agents: [{ cluster_id: "c1", mode: "obey", why: null }], unknown: [] }),
    clusters: told([{ id: "c1", status: "live" }]),
    ...{ operations: told([]), placements: told([]), allocations: told([{ state: "committed" }]) },
    blocks: told([{ block_id: "b", instances: [{ instance_id: "i", ready: true, restarts: 9 }] }]),
    health: told({ store: "ready", bus: "ready", mirror: "none", sandbox: { snapshot: "ready" } }),
    ...{ evaluations: told([{ state: "done" }]), waiting: told([]) },
    ...{ live: [cluster], ...over },
  };
}

const CASES: readonly (readonly [string, Partial<FleetFacts>, object])[] = [
  [
    "an agent that obeys another store",
    { fleet: told({ agents: [{ cluster_id: "c1", mode: "observe", why: "another store" }] }) },
    { severity: "error", cluster_id: "c1", what: "observe: another store" },
  ],
  [
    "an agent with a key that is not known",
    { fleet: told({ unknown: [{ cluster_id: "c9" }] }) },
    { severity: "error", cluster_id: "c9", next: "berth token create --cluster c9" },
  ],
  [
    "a store that was restored",
    { fleet: told({ restored: { known_term: 3 } }) },
    { severity: "error", about: "the control-plane's store" },
  ],
  [
    "a cluster that is silent",
    { clusters: told([{ id: "c2", status: "unreachable" }]) },
    { severity: "error", cluster_id: "c2", what: "is unreachable" },
  ],
  [
    "a stuck operation",
    { operations: told([{ operation_id: "op", cluster_id: "c1", block_id: "echo" }]) },
    { severity: "error", cluster_id: "c1", next: "berth operation show|retry|abandon op" },
  ],
  [
    "a stuck placement",
    { placements: told([{ placement_id: "p", block_id: "echo", waits_for: "cluster c1" }]) },
    { severity: "error", about: "placement p", what: expect.stringContaining("cluster c1") },
  ],
  [
    "a bus that is away",
    { health: told({ store: "ready", bus: "no connection yet", mirror: "ready" }) },
    { severity: "error", about: "the bus", what: "no connection yet" },
  ],
  [
    "a mirror that is behind",
    { health: told({ store: "ready", bus: "ready", mirror: "it is behind" }) },
    { severity: "warning", about: "the mirror", what: "it is behind" },
  ],
  [
    "a workflow that fails",
    { evaluations: told([{ state: "failed", workflow_id: "w", reason: "m: no load" }]) },
    { severity: "error", what: expect.stringContaining("m: no load") },
  ],
  [
    "a workflow that is not there",
    { evaluations: told([{ state: "held", workflow_id: "w", reason: "there is no workflow" }]) },
    { severity: "warning", what: "its newest evaluation is held: there is no workflow" },
  ],
  [
    "a request that waits for a human",
    { waiting: told([{ uuid: "u1", subject_id: "team-a", replicas: 8 }]) },
    { severity: "warning", about: "request u1", what: "8 replicas of team-a wait for a human" },
  ],
  [
    "what runs and is in no record",
    { allocations: told([{ cluster_id: "c1", orphan: true, block_id: "b", instance_id: "i" }]) },
    { severity: "warning", about: "instance b/i" },
  ],
  [
    "an instance that ends again and again",
    {
      blocks: told([
        {
          ...{ block_id: "b", cluster_id: "c1" },
          instances: [
            { instance_id: "i", ready: false, restarts: 3, message: "it ended with code 1" },
            { instance_id: "new", ready: false, restarts: 1 },
          ],
        },
      ]),
    },
    {
      ...{ severity: "warning", cluster_id: "c1", about: "instance b/i" },
      what: "is not ready and was started 3 times again: it ended with code 1",
    },
  ],
  [
    "what may still run",
    { allocations: told([{ state: "quarantined", orphan: false, note: "its node is lost" }]) },
    { severity: "warning", what: expect.stringContaining("(its node is lost)") },
  ],
  [
    "what could not be asked",
    { operations: { kind: "failed", message: "no answer" } },
    { severity: "error", about: "operations", what: "could not be asked: no answer" },
  ],
];

describe("the findings of a fleet", () => {
  it("are none where nothing is wrong", () => {
    expect(findings(facts())).toEqual([]);
  });

  it.each(CASES)("name %s", (_name, over, expected) => {
    expect(findings(facts(over))).toMatchObject([expected]);
  });

  it("name what a cluster's agent says of itself, errors first", () => {
    const live = {
      clusterId: "c1",
      ledger: told({ state: "closed", why: "it waits for node n2" }),
      nodes: told([
        { id: "n1", state: "expected", since: "2026-11-23", liveness: null },
        { id: "n2", state: "ready", liveness: "telemetry_lost", reason: "silent for 20 s" },
      ]),
      prechecks: told({ hooks: { scale_block: { error: "no text" } }, unknown_keys: ["add_blok"] }),
    };
    expect(findings(facts({ live: [live] }))).toMatchObject([
      { severity: "error", cluster_id: "c1", what: expect.stringContaining("node n2") },
      { severity: "error", about: "node n2", what: "is telemetry_lost: silent for 20 s" },
      { severity: "error", about: "pre-check scale_block" },
      { severity: "warning", about: "node n1", next: expect.stringContaining("--node n1") },
      { severity: "warning", about: "config.actionsPolicyMap.add_blok" },
    ]);
  });

  it("outlive answers of any shape", () => {
    for (const data of [null, 7, "x", [], {}, [null, 7, []]]) {
      const odd = told(data);
      const live = [{ clusterId: "c1", ledger: odd, nodes: odd, prechecks: odd }];
      const asked = { operations: odd, placements: odd, allocations: odd, blocks: odd };
      const scaling = { health: odd, evaluations: odd, waiting: odd };
      expect(() =>
        findings({ fleet: odd, clusters: odd, live, ...asked, ...scaling }),
      ).not.toThrow();
    }
  });
});
