import { describe, expect, it } from "vitest";
import { nodeRow } from "../testing/fleet-view-server.ts";
import { RowStore } from "./row-store.ts";

const LOST = { kind: "lost", why: "ECONNRESET", retryMs: 1 } as const;

describe("RowStore", () => {
  it("keeps the newest rows", () => {
    const store = new RowStore("nodes");
    store.take({ kind: "snapshot", rows: [nodeRow(), nodeRow({ id: "n2" })], truncated: true }, 0);
    const changed = nodeRow({ id: "n2", free_gpus: 0 });
    const told = store.take(
      { kind: "changes", changed: [changed], removed: ["c1/n1", "c1/x"], truncated: true },
      1,
    );
    expect(told).toEqual([
      { kind: "changed", row: changed },
      { kind: "removed", row: nodeRow() },
    ]);
    expect(store.rows(1)).toEqual([changed]);
    expect(store.isTruncated).toBe(true);
  });

  it("takes what a later snapshot does not have for gone", () => {
    const store = new RowStore("nodes");
    store.take({ kind: "snapshot", rows: [nodeRow(), nodeRow({ id: "n2" })], truncated: true }, 0);
    const told = store.take({ kind: "snapshot", rows: [nodeRow()], truncated: false }, 1);
    expect(told).toContainEqual({ kind: "removed", row: nodeRow({ id: "n2" }) });
    expect(store.rows(1)).toEqual([nodeRow()]);
  });

  it("lets rows that nobody reports grow older, and all of them while the watch is lost", () => {
    const store = new RowStore("nodes");
    const stale = nodeRow({ id: "n2", quality: "stale", age_ms: 21_000 });
    const unknown = nodeRow({ id: "n3", quality: "stale", age_ms: null });
    store.take({ kind: "snapshot", rows: [nodeRow(), stale, unknown], truncated: false }, 1_000);
    const ages = (nowMs: number) => store.rows(nowMs).map((row) => row.age_ms);
    expect(ages(3_000)).toEqual([800, 23_000, null]);
    store.take(LOST, 5_000);
    store.take(LOST, 6_000);
    expect(store.lostAtMs).toBe(5_000);
    expect(ages(9_000)).toEqual([4_800, 29_000, null]);
    store.take({ kind: "changes", changed: [], removed: [], truncated: false }, 9_000);
    expect(store.lostAtMs).toBeUndefined();
  });
});
