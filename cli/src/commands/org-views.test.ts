import { expect, it } from "vitest";
import { quotasView, scaleRequestsView, subjectsView } from "./org-views.ts";

const NOW_MS = Date.parse("2026-11-23T00:01:00Z");

it("shows quotas with what is used of them", () => {
  const quota = {
    ...{ quota_id: "q", subject_id: "s", parent_id: "team", replica_count: "3" },
    ...{ observed_replicas: 2, observed_age_seconds: 5, allocation_info: "gpu-allocation" },
    ...{ nominal: { H100: 4, L4: 0.5 }, limit: null, used: {} },
  };
  const old = { ...quota, observed_age_seconds: 120 };
  const none = { ...quota, subject_id: "", observed_replicas: null, observed_age_seconds: null };
  expect(quotasView([quota, old, none]).rows).toEqual([
    ["q", "s", "team", "3", "2", "-", "4 H100, 0.5 L4", "-", "gpu-allocation"],
    ["q", "s", "team", "3", "2 (2m00s ago)", "-", "4 H100, 0.5 L4", "-", "gpu-allocation"],
    ["q", "-", "team", "3", "-", "-", "4 H100, 0.5 L4", "-", "gpu-allocation"],
  ]);
});

it("shows what subjects use, and what is stale of it", () => {
  const usage = { subject_id: "s", cpu_usage: 8.4, memory_usage: 5_120, gpu_usage: null };
  const told = { ...usage, replicas_reported: 3, source: "dcgm", age_seconds: 90, stale: true };
  expect(subjectsView([told]).rows).toEqual([
    ["s", "8.4", "5120 MB", "-", "3", "dcgm", "1m30s (stale)"],
  ]);
});

it("shows requests with why they failed, else why they were made", () => {
  const request = {
    ...{ uuid: "u", subject_id: "s", quota_id: "q", before: 1, replicas: 3, state: "confirmed" },
    ...{ origin: "adhoc", reason: "asked for", created_at: "2026-11-23T00:00:00Z" },
    response: { status: "allocated", replicas: 3 },
  };
  const failed = { ...request, state: "failed", response: { status: "failed", message: "full" } };
  expect(scaleRequestsView([request, failed], NOW_MS).rows).toEqual([
    ["u", "s", "q", "1", "3", "confirmed", "adhoc", "1m00s", "asked for"],
    ["u", "s", "q", "1", "3", "failed", "adhoc", "1m00s", "full"],
  ]);
});

it("shows nothing of what is no list", () => {
  expect([quotasView({}).rows, subjectsView(null).rows]).toEqual([[], []]);
});
