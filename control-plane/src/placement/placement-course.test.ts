import { describe, expect, it } from "vitest";
import * as course from "./placement-course.ts";
import {
  isOver,
  type PlacementRecord,
  placementDocument,
  type TriedCluster,
} from "./placement-record.ts";

const NEW: PlacementRecord = {
  ...{ id: "p", blockId: "b", requestDigest: "d", requestJson: "{}", phase: "choosing" },
  ...{ round: 0, attempts: 0, queue: [], tried: [], triedMore: 0, warnings: [] },
  ...{ decisionId: "x", createdAt: "t", updatedAt: "t" },
};
const place = { nodeId: "n", gpusJson: '["0"]' };
const ranked = (...ids: readonly string[]) =>
  ids.map((clusterId) => ({ clusterId, score: 0.5, places: [place, place] }));
const refusal = (clusterId: string, over: Partial<TriedCluster> = {}): TriedCluster => ({
  ...{ clusterId, step: "dry_run", reason: "UNSCHEDULABLE", message: `${clusterId} is full` },
  ...over,
});
const looked = (ids: readonly string[], refused: readonly TriedCluster[] = []) =>
  course.afterLook(NEW, { ranked: ranked(...ids), refused, warnings: [] });

describe("a placement", () => {
  it("tries the best cluster with a key and leases of its own, then the next one with others", () => {
    const first = looked(["c1", "c2"]);
    expect(first).toMatchObject({
      phase: "leasing",
      current: { clusterId: "c1", operationKey: "p/1", sends: 0, refreshes: 0 },
      queue: [{ clusterId: "c2" }],
    });
    expect(new Set(first.current?.leaseIds).size).toBe(2);
    const next = course.afterRefusal(first, { step: "lease", reason: "CONFLICT", message: "lost" });
    expect(next).toMatchObject({ current: { clusterId: "c2", operationKey: "p/2" }, queue: [] });
    expect(next.tried).toEqual([
      { clusterId: "c1", step: "lease", reason: "CONFLICT", message: "lost" },
    ]);
  });

  it("looks at the fleet again, three times in all, when what was in the way may pass", () => {
    let record = NEW;
    for (let round = 1; round <= course.MAX_ROUNDS; round += 1) {
      expect(record.phase).toBe("choosing");
      record = course.afterLook(record, { ranked: ranked("c1"), refused: [], warnings: [] });
      const lost = { step: "lease", reason: "CONFLICT", message: "lost" } as const;
      record = course.afterRefusal(record, lost);
    }
    expect(record).toMatchObject({
      phase: "failed",
      error: { reason: "UNSCHEDULABLE", message: 'no cluster can take block "b": c1: lost' },
    });
    expect(record.requestJson).toBeUndefined();
  });

  it("is unschedulable at once when no cluster can take the block, with the last word of each", () => {
    const view = refusal("c2", { step: "view", reason: "UNAVAILABLE", message: "is unreachable" });
    const record = looked([], [refusal("c1"), view]);
    expect(record.error?.message).toBe(
      'no cluster can take block "b": c1: c1 is full; c2: is unreachable',
    );
    expect(isOver(record)).toBe(true);
    expect(looked([]).error?.message).toBe('no cluster could be asked to take block "b"');
  });

  it("looks again when clusters are away that may be back, and says that it waits for them", () => {
    const gone = { step: "view", reason: "UNAVAILABLE", mayReturn: true } as const;
    const look = { ranked: [], refused: [refusal("c1"), refusal("c2", gone)], warnings: [] };
    let record = course.afterLook(NEW, look);
    expect(record).toMatchObject({ phase: "choosing", waitsFor: course.WAITS_FOR_CLUSTERS });
    for (let round = 2; round <= course.MAX_ROUNDS; round += 1) {
      record = course.afterLook(record, look);
    }
    expect(record).toMatchObject({ phase: "failed", error: { reason: "UNSCHEDULABLE" } });
    const busy = refusal("c1", { reason: "CONFLICT" });
    const soon = course.afterLook(NEW, { ...look, refused: [busy, refusal("c2", gone)] });
    expect(soon.phase).toBe("choosing");
    expect(soon).not.toHaveProperty("waitsFor");
  });

  it.each<[TriedCluster["step"], string, boolean]>([
    ["dry_run", "INVALID_ARGUMENT", true],
    ["create", "INVALID_ARGUMENT", true],
    ["create", "ALREADY_EXISTS", true],
    ["run", "ALREADY_EXISTS", true],
    ["run", "INVALID_ARGUMENT", false],
    ["lease", "INVALID_ARGUMENT", false],
    ["create", "PRECHECK_DENIED", false],
    ["create", "PRECONDITION_FAILED", false],
  ])("that is refused at %s for %s ends by that: %s", (step, reason, ends) => {
    expect(course.isFinal({ step, reason })).toBe(ends);
  });

  it("tells of at most 200 clusters and counts the others", () => {
    const many = Array.from({ length: 250 }, (_, index) => refusal(`c${index}`));
    const document = placementDocument(looked([], many));
    expect(document).toMatchObject({ tried: { length: 200 }, tried_more: 50 });
    expect(JSON.stringify(document)).not.toContain("requestJson");
  });

  it("goes on after a retry where it was", () => {
    const creating = { ...looked(["c1"]), phase: "creating" as const };
    expect(course.retried(course.stuck(creating, "gone")).phase).toBe("creating");
    const waiting = course.accepted(creating, "o");
    expect(course.retried(course.stuck(waiting, "gone"))).toMatchObject({ phase: "waiting" });
    const again = course.forgotten(waiting);
    expect(again).toMatchObject({ phase: "creating", current: { operationKey: "p/1" } });
    expect(again.current?.operationId).toBeUndefined();
  });

  it("leases as many places as instances are made, 64 at most", () => {
    const places = Array.from({ length: 100 }, () => place);
    expect([0, 3, 100].map((planned) => course.leasedPlaces(places, planned).length)).toEqual([
      ...[0, 3, 64],
    ]);
  });

  it("gets new leases when the places on its cluster are named anew, and keeps its key", () => {
    const first = looked(["c1"]);
    const again = course.withNewPlaces(first, { score: 0.4, places: [place] });
    expect(again.current).toMatchObject({ operationKey: "p/1", refreshes: 1, score: 0.4 });
    expect(first.current?.leaseIds).not.toContain(again.current?.leaseIds[0]);
  });
});
