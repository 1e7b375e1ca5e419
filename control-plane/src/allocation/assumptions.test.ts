import { beforeEach, describe, expect, it } from "vitest";
import { aGpu, aView } from "../testing/documents.ts";
import { Assumptions } from "./assumptions.ts";

const ORG = "default_org";
const view = aView("c1", { gpus: [aGpu("0"), aGpu("1")] });
const gpu = (slot: string) => ({ clusterId: "c1", nodeId: "node-1", slot });

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
    assumptions.assume(ORG, [gpu("1")], 10);
    expect(states()).toEqual(["free", "leased"]);
    nowMs += 9_999;
    expect(states()).toEqual(["free", "leased"]);
    nowMs += 1;
    expect(states()).toEqual(["free", "free"]);
    expect(assumptions.overlay(view)).toBe(view);
  });

  it("keeps the later end of two, and ends each GPU at its own time", () => {
    assumptions.assume(ORG, [gpu("0")], 10);
    assumptions.assume(ORG, [gpu("0"), gpu("1")], 5);
    nowMs += 6_000;
    expect(states()).toEqual(["leased", "free"]);
    nowMs += 4_000;
    expect(states()).toEqual(["free", "free"]);
  });

  it("gives one view as long as nothing changes", () => {
    assumptions.assume(ORG, [gpu("0")], 10);
    const seen = assumptions.overlay(view);
    assumptions.assume(ORG, [gpu("0")], 20);
    expect(assumptions.overlay(view)).toBe(seen);
    const newer = { ...view, revision: 2 };
    expect(assumptions.overlay(newer)).not.toBe(seen);
    expect(states(assumptions.overlay(newer))).toEqual(["leased", "free"]);
  });

  it("keeps orgs apart and takes 0 seconds as not at all", () => {
    assumptions.assume("another", [gpu("0")], 10);
    assumptions.assume(ORG, [gpu("0")], 0);
    expect(assumptions.overlay(view)).toBe(view);
  });

  it("tells which GPUs were given away after a decision had looked", () => {
    assumptions.assume(ORG, [gpu("0")], 10);
    const looked = assumptions.newest;
    expect(assumptions.contested(ORG, [gpu("0"), gpu("1")], looked)).toEqual([]);
    assumptions.assume(ORG, [gpu("1")], 10);
    expect(assumptions.contested(ORG, [gpu("0"), gpu("1")], looked)).toEqual([gpu("1")]);
    nowMs += 10_000;
    expect(assumptions.contested(ORG, [gpu("1")], looked)).toEqual([]);
  });
});
