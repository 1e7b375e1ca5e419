import type { BlockDocument, LeaseDocument } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { MAX_BLOCK_KEYS } from "./block-entries.ts";
import { type BlockEntry, ClusterBlockState } from "./cluster-block-state.ts";

const ABOUT = { clusterId: "c1", isLive: true };

const claim = { node_id: "n1", gpus: [{ uuid: "GPU-1" }], cpu_millis: 0, memory: 0, storage: 0 };
const lease: LeaseDocument = {
  ...{ lease_id: "l1", subject: "s", ...claim },
  ...{ ttl_left_ms: 10_000, renewals: 0, age_ms: 500 },
};
const block = (id: string): BlockDocument => ({
  ...{ block_id: id, phase: "running", component_uri: "" },
  ...{ instances: [], created_at: "", updated_at: "" },
});

const entry = (key: string, revision: number, value: BlockEntry["value"]): BlockEntry => ({
  ...{ key, revision: BigInt(revision), characters: 100, atMs: 1_000, value },
});
const blockEntry = (id: string, revision = 1) =>
  entry(`block/${id}`, revision, { kind: "block", document: block(id) });
const ledger = (revision: string, at = 1) =>
  entry("ledger", at, { kind: "ledger", document: { state: "open", generation: 1, revision } });
const holds = (leases: readonly LeaseDocument[]) =>
  entry("holds/n1", 1, { kind: "holds", document: { allocations: [], leases } });

describe("the blocks of a cluster", () => {
  it("are the newest value of each key, and go when they are deleted since", () => {
    const state = new ClusterBlockState();
    expect(state.take(blockEntry("a", 2))).toBe(true);
    expect(state.take(blockEntry("a", 1))).toBe(false);
    const before = state.at(0, ABOUT);
    expect(state.delete("block/a", 1n)).toBe(false);
    expect(state.delete("block/a", 3n)).toBe(true);
    expect(state.delete("block/a", 4n)).toBe(false);
    expect([...before.blocks.keys()]).toEqual(["a"]);
    expect(state.at(0, ABOUT).blocks.size).toBe(0);
    expect(state.isEmpty).toBe(true);
  });

  it("tell of a lease what is left of it now", () => {
    const state = new ClusterBlockState();
    state.take(holds([lease]));
    expect(state.at(1_000, ABOUT).leases).toEqual([lease]);
    expect(state.at(5_000, ABOUT).leases).toMatchObject([{ ttl_left_ms: 6_000, age_ms: 4_500 }]);
    expect(state.at(60_000, ABOUT).leases).toMatchObject([{ ttl_left_ms: 0 }]);
    expect(state.at(0, ABOUT).leases).toMatchObject([{ ttl_left_ms: 10_000 }]);
  });

  it("are behind an answered order until the ledger's revision is heard of, or 5 s are over", () => {
    const state = new ClusterBlockState();
    const isBehind = (nowMs: number) => state.at(nowMs, ABOUT).isBehind;
    expect(isBehind(0)).toBe(false);
    state.take(ledger("7"));
    state.answered(7n, 1_000);
    expect(isBehind(1_000)).toBe(false);
    state.answered(9n, 1_000);
    expect(isBehind(1_001)).toBe(true);
    state.take(ledger("8", 2));
    expect(isBehind(1_001)).toBe(true);
    expect(isBehind(6_000)).toBe(false);
    state.answered(10n, 7_000);
    state.take(ledger("11", 3));
    expect(isBehind(7_001)).toBe(false);
  });

  it("are bounded in number, also within one message, and counted anew by a snapshot", () => {
    const state = new ClusterBlockState();
    const many = Array.from({ length: MAX_BLOCK_KEYS.block }, (_, n) => blockEntry(`b${n}`));
    state.check(many, false);
    for (const one of many) state.take(one);
    state.check([blockEntry("b0", 2), blockEntry("b1", 2)], false);
    expect(() => state.check([blockEntry("more")], false)).toThrow(
      "entries: expected at most 10000 of block",
    );
    state.check([blockEntry("more")], true);
    state.delete("block/b0", 9n);
    state.check([blockEntry("more"), blockEntry("more", 2)], false);
  });

  it("are bounded in size", () => {
    const state = new ClusterBlockState();
    const large = (id: string) => ({ ...blockEntry(id), characters: 50 * 1024 * 1024 });
    state.check([large("a")], false);
    state.take(large("a"));
    state.check([large("a")], false);
    expect(() => state.check([large("b")], false)).toThrow(/a cluster's blocks hold at most/);
    state.check([large("b")], true);
    expect(() => state.check([large("b"), large("c")], true)).toThrow(/hold at most/);
  });
});
