import { expect, it } from "vitest";
import { newQuota } from "../quotas/quota.ts";
import { DriftWatch } from "./replica-drift.ts";

const quota = (replicas: number) =>
  newQuota(
    { quota_id: "q", subject_id: "s", replica_count: replicas },
    { mintId: () => "", now: "2026-11-23T00:00:00.000Z" },
  );
const seen = (desired: number, replicas?: number, ageSeconds = 0) => ({
  quota: quota(desired),
  observed: replicas === undefined ? undefined : { replicas, ageSeconds },
});

it("tells once of what stays different for long enough", () => {
  const watch = new DriftWatch(60_000);
  expect(watch.look([seen(3, 1)], 0)).toEqual([]);
  expect(watch.look([seen(3, 1)], 59_999)).toEqual([]);
  const drift = { quotaId: "q", subjectId: "s", desired: 3, observed: 1, forSeconds: 61 };
  expect(watch.look([seen(3, 1)], 61_000)).toEqual([drift]);
  expect(watch.look([seen(3, 1)], 200_000)).toEqual([]);
});

it("begins anew when either number changes, and when they were equal meanwhile", () => {
  const watch = new DriftWatch(60_000);
  watch.look([seen(3, 1)], 0);
  expect(watch.look([seen(3, 2)], 61_000)).toEqual([]);
  expect(watch.look([seen(4, 2)], 122_000)).toEqual([]);
  watch.look([seen(4, 4)], 150_000);
  expect(watch.look([seen(4, 2)], 190_000)).toEqual([]);
  expect(watch.look([seen(4, 2)], 251_000)).toHaveLength(1);
});

it("does not count what nobody looks at, and does not forget it either", () => {
  const watch = new DriftWatch(60_000);
  watch.look([seen(3, 1)], 0);
  expect(watch.look([seen(3, 1, 90)], 70_000)).toHaveLength(1);
  expect(watch.look([seen(3, 1)], 80_000)).toEqual([]);
  watch.look([seen(3)], 90_000);
  expect(watch.look([seen(3, 1)], 100_000)).toEqual([]);
});
