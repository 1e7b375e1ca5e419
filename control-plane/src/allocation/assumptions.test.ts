import { beforeEach, describe, expect, it } from "vitest";
import { aGpu, aView } from "../testing/documents.ts";
import { Assumptions } from "./assumptions.ts";

const ORG = "default_org";
const view = aView("c1", { gpus: [aGpu("0"), aGpu("1")] });
const gpu = (slot: string) => ({ clusterId: "c1", nodeId: "node-1", slot });
const lasting = (seconds: number, since = assumptions.newest) => ({ seconds, since });

let nowMs: number;
let assumptions: Assumptions;
const states = (seen = assumptions.overlay(view)) =>
  seen.document.nodes.nodeData[0]?.gpus.gpus.map(({ state }) => state);

beforeEach(() => {
  nowMs = 1_000;
  assumptions = new Assumptions({ nowMs: () => nowMs });
});

describe("Assumptions", () => {
  it("shows a placed GPU as leased until its time is over", () => {
    assumptions.assume(ORG, [gpu("1")], lasting(10));
    expect(states()).toEqual(["free", "leased"]);
    nowMs += 9_999;
    expect(states()).toEqual(["free", "leased"]);
    nowMs += 1;
    expect(states()).toEqual(["free", "free"]);
    expect(assumptions.overlay(view)).toBe(view);
  });

  it("keeps the later end of two, and ends each GPU at its own time", () => {
    assumptions.assume(ORG, [gpu("0")], lasting(10));
    assumptions.assume(ORG, [gpu("0"), gpu("1")], lasting(5));
    nowMs += 6_000;
    expect(states()).toEqual(["leased", "free"]);
    nowMs += 4_000;
    expect(states()).toEqual(["free", "free"]);
  });

  it("gives one view as long as nothing changes", () => {
    assumptions.assume(ORG, [gpu("0")], lasting(10));
    const seen = assumptions.overlay(view);
    assumptions.assume(ORG, [gpu("0")], lasting(20));
    expect(assumptions.overlay(view)).toBe(seen);
    const newer = { ...view, revision: 2 };
    expect(assumptions.overlay(newer)).not.toBe(seen);
    expect(states(assumptions.overlay(newer))).toEqual(["leased", "free"]);
  });

  it("keeps orgs apart and takes 0 seconds as not at all", () => {
    assumptions.assume("another", [gpu("0")], lasting(10));
    assumptions.assume(ORG, [gpu("0")], lasting(0));
    expect(assumptions.overlay(view)).toBe(view);
  });

  it("takes back what a decision assumed, but not what a later one did", () => {
    const first = assumptions.assume(ORG, [gpu("0"), gpu("1")], lasting(10)) ?? Number.NaN;
    expect(states()).toEqual(["leased", "leased"]);
    assumptions.assume(ORG, [gpu("1")], lasting(10));
    assumptions.withdraw(ORG, [gpu("0"), gpu("1")], first);
    expect(states()).toEqual(["free", "leased"]);
    expect(assumptions.assume(ORG, [gpu("0")], lasting(0))).toBeUndefined();
  });

  it("ends what a decision assumed sooner, but not later, nor what a later one did", () => {
    const first = assumptions.assume(ORG, [gpu("0"), gpu("1")], lasting(10)) ?? Number.NaN;
    assumptions.assume(ORG, [gpu("1")], lasting(10));
    assumptions.shorten(ORG, [gpu("0"), gpu("1")], { decision: first, seconds: 3 });
    assumptions.shorten(ORG, [gpu("0")], { decision: first, seconds: 60 });
    nowMs += 2_999;
    expect(states()).toEqual(["leased", "leased"]);
    nowMs += 1;
    expect(states()).toEqual(["free", "leased"]);
  });

  it("tells which GPUs were given away after a decision had looked", () => {
    assumptions.assume(ORG, [gpu("0")], lasting(10));
    const looked = assumptions.newest;
    expect(assumptions.contested(ORG, [gpu("0"), gpu("1")], looked)).toEqual([]);
    assumptions.assume(ORG, [gpu("1")], lasting(10));
    expect(assumptions.contested(ORG, [gpu("0"), gpu("1")], looked)).toEqual([gpu("1")]);
    nowMs += 10_000;
    expect(assumptions.contested(ORG, [gpu("1")], looked)).toEqual([]);
  });

  it("forgets what is assumed of a cluster that is removed, and of no other one", () => {
    const another = { ...view, id: "c2" };
    assumptions.assume(ORG, [gpu("0"), { ...gpu("0"), clusterId: "c2" }], lasting(300));
    assumptions.remove(ORG, "c1");
    expect(assumptions.overlay(view)).toBe(view);
    expect(states(assumptions.overlay(another))).toEqual(["leased", "free"]);
    assumptions.assume(ORG, [gpu("1")], lasting(300));
    expect(states()).toEqual(["free", "leased"]);
  });

  it("assumes nothing of a cluster that was removed while the decision ran", () => {
    const looked = assumptions.newest;
    assumptions.remove(ORG, "c1");
    const other = { ...gpu("0"), clusterId: "c2" };
    assumptions.assume(ORG, [gpu("0"), other], lasting(300, looked));
    expect(assumptions.overlay(view)).toBe(view);
    expect(states(assumptions.overlay({ ...view, id: "c2" }))).toEqual(["leased", "free"]);
    expect(assumptions.contested(ORG, [gpu("0")], looked)).toEqual([]);
    assumptions.assume("another", [gpu("0")], lasting(300, looked));
    expect(states(assumptions.overlay({ ...view, orgId: "another" }))).toEqual(["leased", "free"]);
  });
});
