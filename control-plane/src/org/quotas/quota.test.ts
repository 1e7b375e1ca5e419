import { describe, expect, it } from "vitest";
import { changedQuota, newQuota, quotaDocument } from "./quota.ts";

const NOW = "2026-11-23T00:00:00.000Z";
const LATER = "2026-11-24T00:00:00.000Z";
const make = (body: object) => newQuota({ ...body }, { mintId: () => "minted", now: NOW });
const shown = (body: object) =>
  quotaDocument(make(body), { orgId: "o", revision: 1, observed: undefined, used: {} });

describe("a new quota", () => {
  it("is the seed's, its replicas as text", () => {
    const seed = {
      ...{ subject_id: "subject-001", quota_id: "quota-001" },
      ...{ allocation_info: "gpu-allocation", replica_count: "3" },
    };
    expect(shown(seed)).toMatchObject({ ...seed, org_id: "o", observed_replicas: null });
    expect(shown({ ...seed, replica_count: 3 })).toMatchObject({ replica_count: "3" });
  });

  it("gets an id and is of nobody when nothing is said, and drops what it does not know", () => {
    expect(shown({ colour: "red" })).toEqual({
      ...{ subject_id: "", quota_id: "minted", allocation_info: "", replica_count: "0" },
      ...{ observed_replicas: null, observed_age_seconds: null, org_id: "o", parent_id: null },
      ...{
        min_replicas: null,
        max_replicas: null,
        nominal: null,
        limit: null,
        used: {},
        revision: 1,
      },
      ...{ created_at: NOW, updated_at: NOW },
    });
    expect(shown({ min_replicas: 2 })).toMatchObject({ replica_count: "2" });
    expect(shown({ allocation_info: { policy: "p" } })).toMatchObject({
      allocation_info: '{"policy":"p"}',
    });
  });

  it.each([
    [{ replica_count: "" }, /^replica_count: .*got ""/],
    [{ replica_count: "5.0" }, /^replica_count: .*got "5.0"/],
    [{ replica_count: "-1" }, /^replica_count/],
    [{ replica_count: 2.5 }, /^replica_count: .*got 2.5/],
    [{ replica_count: true }, /^replica_count: .*got boolean/],
    [{ replica_count: null }, /^replica_count: .*got null/],
    [{ replica_count: Number.POSITIVE_INFINITY }, /^replica_count/],
    [{ replica_count: 100_001 }, /^replica_count/],
    [{ subject_id: 7 }, /^subject_id: expected text, got number/],
    [{ quota_id: "a/b" }, /^quota_id/],
    [{ quota_id: "x".repeat(254) }, /^quota_id/],
    [{ parent_id: 7 }, /^parent_id/],
    [{ allocation_info: [] }, /^allocation_info: .*got array/],
    [{ allocation_info: "x".repeat(70_000) }, /^allocation_info/],
    [{ nominal: 4 }, /^nominal: .*got number/],
    [{ nominal: { H100: "4" } }, /^nominal\.H100: .*got string/],
    [{ nominal: { H100: -1 } }, /^nominal\.H100/],
    [{ nominal: { H100: 0.0001 } }, /^nominal\.H100/],
    [{ nominal: { "": 1 } }, /^nominal: expected flavors/],
    [{ limit: { H100: 1 }, nominal: { H100: 2 } }, /^limit\.H100/],
    [{ min_replicas: 3, max_replicas: 2 }, /^min_replicas/],
    [{ max_replicas: 2, replica_count: "3" }, /^replica_count/],
    [{ min_replicas: 2, replica_count: "1" }, /^replica_count/],
  ])("refuses %j by the field", (body, message) => {
    expect(() => make(body)).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: expect.stringMatching(message),
      }),
    );
  });
});

describe("a change", () => {
  const before = make({
    ...{ quota_id: "q", subject_id: "s", replica_count: 3, max_replicas: 5 },
    ...{ nominal: { H100: 2.5 }, limit: { H100: 4 } },
  });

  it("changes what it names, and takes away what it says is null", () => {
    expect(changedQuota(before, { replica_count: "5" }, LATER)).toEqual({
      ...before,
      ...{ replicas: 5, updatedAt: LATER },
    });
    const { maxReplicas: _max, limit: _limit, ...rest } = before;
    expect(changedQuota(before, { max_replicas: null, limit: null }, LATER)).toEqual({
      ...rest,
      updatedAt: LATER,
    });
    expect(before.nominal).toEqual({ H100: 2_500 });
  });

  it("does not change the id, and must hold together", () => {
    expect(changedQuota(before, { quota_id: "q" }, LATER).quotaId).toBe("q");
    expect(() => changedQuota(before, { quota_id: "other" }, LATER)).toThrow(
      "quota_id: a quota keeps",
    );
    expect(() => changedQuota(before, { replica_count: 6 }, LATER)).toThrow("replica_count");
  });
});
