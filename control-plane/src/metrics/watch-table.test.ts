import { describe, expect, it } from "vitest";
import { aGpu } from "../testing/documents.ts";
import { fleetOf, runThrough, someGpus, testNode, viewOf } from "../testing/fleet-views.ts";
import type { RowKind } from "./rows.ts";
import { framePieces } from "./watch-frames.ts";
import { WatchTable } from "./watch-table.ts";

function lineOf(table: WatchTable, since: number, filter = {}): Record<string, never> | undefined {
  const text = [...framePieces(table, { since, filter, nowMs: 5_000 })].join("");
  return text === "" ? undefined : JSON.parse(text);
}

function changedIds(table: WatchTable, since: number): readonly unknown[] {
  return [...table.since(since, {})].map((news) =>
    news.kind === "row" ? news.row.id : [news.id, "gone"],
  );
}

function tableOf(kind: RowKind, fleet: ReturnType<typeof fleetOf>, maxRows?: number): WatchTable {
  const table = new WatchTable(kind, maxRows);
  runThrough(table.take(fleet));
  return table;
}

const n1 = testNode("n1", someGpus(2));
const n2 = testNode("n2", someGpus(2));
const a = viewOf("a", [n1, n2]);
const b = viewOf("b", [testNode("n1", someGpus(1))]);

describe("WatchTable", () => {
  it("tells everything at first, and nothing when nothing is another", () => {
    const table = tableOf("gpus", fleetOf(a, b));
    expect(changedIds(table, 0)).toEqual(["a/n1/0", "a/n1/1", "a/n2/0", "a/n2/1", "b/n1/0"]);
    const { version } = table;
    runThrough(table.take(fleetOf(a, b)));
    runThrough(table.take(fleetOf({ ...a }, { ...b })));
    expect(table.version).toBe(version);
    expect(changedIds(table, version)).toEqual([]);
  });

  it("tells only the rows that read otherwise", () => {
    const table = tableOf("gpus", fleetOf(a, b));
    const { version } = table;
    const told = testNode("n2", someGpus(2)).metrics;
    const gpus =
      told?.gpus.map((gpu) => (gpu.id === "1" ? { ...gpu, temperature: 90 } : gpu)) ?? [];
    const hotter = viewOf("a", [n1, { ...n2, metrics: told && { ...told, gpus } }]);
    runThrough(table.take(fleetOf(hotter, b)));
    expect(changedIds(table, version)).toEqual(["a/n2/1"]);
  });

  it("does not tell rows that are only older or younger, but their ages are right", () => {
    const table = tableOf("nodes", fleetOf(b));
    const { version } = table;
    const younger = {
      ...viewOf("b", [testNode("n1", someGpus(1))]),
      nodesAtMs: new Map([["n1", 4_900]]),
    };
    runThrough(table.take(fleetOf(younger)));
    expect(table.version).toBe(version);
    expect(lineOf(table, 0)).toMatchObject({ type: "snapshot", rows: [{ id: "n1", age_ms: 200 }] });
  });

  it("tells what is gone: a GPU, a node, a cluster", () => {
    const table = tableOf("gpus", fleetOf(a, b));
    const { version } = table;
    runThrough(table.take(fleetOf(viewOf("a", [testNode("n1", someGpus(1))]))));
    expect(changedIds(table, version)).toEqual(
      expect.arrayContaining(["a/n1/1", "a/n2/0", "a/n2/1", "b/n1/0"].map((id) => [id, "gone"])),
    );
    expect(table.size).toBe(1);
    expect(lineOf(table, version, { cluster: "b" })).toEqual({
      ...{ type: "changes", changed: [], removed: ["b/n1/0"] },
    });
    expect(lineOf(table, version, { cluster: "a", node: "n2" })).toMatchObject({
      removed: ["a/n2/0", "a/n2/1"],
    });
  });

  it("tells a row that came back as changed, and not as gone", () => {
    const table = tableOf("nodes", fleetOf(a));
    const { version } = table;
    runThrough(table.take(fleetOf()));
    runThrough(table.take(fleetOf(a)));
    expect(changedIds(table, version)).toEqual(["a/n1", "a/n2"]);
  });

  it("marks all rows of a cluster that becomes unreachable", () => {
    const table = tableOf("gpus", fleetOf(a, b));
    const { version } = table;
    runThrough(table.take(fleetOf({ ...a, health: "unreachable" }, b)));
    expect(lineOf(table, version, { cluster: "a" })).toMatchObject({
      changed: Array(4).fill({ state: "unhealthy", quality: "stale" }),
      removed: [],
    });
    expect(lineOf(table, version, { cluster: "b" })).toBeUndefined();
  });

  it("says that a row has gone from a state that is watched", () => {
    const table = tableOf("gpus", fleetOf(a));
    const { version } = table;
    const taken = testNode("n1", [aGpu("0", { state: "allocated" }), aGpu("1")]);
    runThrough(table.take(fleetOf(viewOf("a", [taken, n2]))));
    expect(lineOf(table, version, { state: "free" })).toEqual({
      ...{ type: "changes", changed: [], removed: ["a/n1/0"] },
    });
    expect(lineOf(table, version, { state: "allocated" })).toMatchObject({
      changed: [{ node_id: "n1", id: "0", state: "allocated" }],
    });
    expect(lineOf(table, 0, { state: "allocated" })).toMatchObject({ rows: [{ id: "0" }] });
  });

  it("does not call a row gone that the reader of a state never had", () => {
    const table = tableOf("gpus", fleetOf(a));
    const look = (temperature: number, state: "free" | "allocated" | "cordoned") => {
      const { version } = table;
      const gpus = [aGpu("0", { state }), aGpu("1")];
      const told = testNode("n1", gpus).metrics;
      const warm = told?.gpus.map((gpu) => ({ ...gpu, temperature })) ?? [];
      const node = { ...testNode("n1", gpus), metrics: told && { ...told, gpus: warm } };
      runThrough(table.take(fleetOf(viewOf("a", [node, n2]))));
      return version;
    };
    // Only measurements of rows in other states, and a state that is neither before nor after the one watched.
    expect(lineOf(table, look(50, "free"), { state: "unhealthy" })).toBeUndefined();
    expect(lineOf(table, look(51, "allocated"), { state: "unhealthy" })).toBeUndefined();
    const first = look(52, "allocated");
    expect(lineOf(table, first, { state: "free" })?.removed).toEqual([]);
    expect(lineOf(table, first - 1, { state: "free" })).toMatchObject({ removed: ["a/n1/0"] });
    const second = look(52, "cordoned");
    expect(lineOf(table, second, { state: "free" })).toBeUndefined();
    expect(lineOf(table, second, { state: "allocated" })).toMatchObject({ removed: ["a/n1/0"] });
    // Who is further behind, and may have had it, is told.
    look(53, "free");
    const third = look(53, "cordoned");
    expect(lineOf(table, third, { state: "allocated" })).toBeUndefined();
    expect(lineOf(table, second, { state: "allocated" })).toMatchObject({ removed: ["a/n1/0"] });
  });

  it("tells of a row that was gone and is back in another state as gone, to those who had it", () => {
    const table = tableOf("gpus", fleetOf(b));
    const { version } = table;
    runThrough(table.take(fleetOf(a)));
    const gone = table.version;
    runThrough(
      table.take(fleetOf(viewOf("b", [testNode("n1", [aGpu("0", { state: "allocated" })])]))),
    );
    expect(lineOf(table, version, { state: "free", cluster: "b" })?.removed).toEqual(["b/n1/0"]);
    expect(lineOf(table, gone, { state: "free", cluster: "b" })).toBeUndefined();
    // One that was never there before.
    runThrough(
      table.take(fleetOf(viewOf("c", [testNode("n1", [aGpu("0", { state: "allocated" })])]))),
    );
    expect(lineOf(table, gone, { state: "free", cluster: "c" })).toBeUndefined();
  });

  it("counts what a look found that did not come to its end", () => {
    const table = tableOf("nodes", fleetOf(a));
    const { version } = table;
    const busier = { ...n1, metrics: n1.metrics && { ...n1.metrics, vcpu: { load1m: 9 } } };
    const changed = viewOf("a", [busier, n2]);
    table.take(fleetOf(changed, b)).next();
    runThrough(table.take(fleetOf(changed, b)));
    expect(table.version).toBeGreaterThan(version);
    expect(changedIds(table, version)).toEqual(["a/n1", "b/n1"]);
  });

  it("knows clusters as rows of one look at all of their nodes", () => {
    const table = tableOf("clusters", fleetOf(a, b));
    const { version } = table;
    runThrough(table.take(fleetOf(b)));
    expect(lineOf(table, version)).toEqual({ type: "changes", changed: [], removed: ["a"] });
  });

  it("leaves rows out beyond its bound and says so, until there is room", () => {
    const table = tableOf("gpus", fleetOf(a, b), 3);
    expect(table.size).toBe(3);
    expect(lineOf(table, 0)).toMatchObject({ truncated: true, rows: { length: 3 } });
    const { version } = table;
    runThrough(table.take(fleetOf(b)));
    expect(lineOf(table, version)).toMatchObject({ removed: ["a/n1/0", "a/n1/1", "a/n2/0"] });
    runThrough(table.take(fleetOf(viewOf("b", [testNode("n1", someGpus(1))]))));
    expect(table.isTruncated).toBe(false);
    expect(table.size).toBe(1);
  });

  it("forgets what is gone once every reader knows it, and knows who has to begin anew", () => {
    const table = tableOf("nodes", fleetOf(a, b));
    const first = table.version;
    runThrough(table.take(fleetOf(b)));
    table.forgetRemovals(first);
    expect(changedIds(table, first)).toHaveLength(2);
    expect(table.hasForgotten(first)).toBe(false);
    table.forgetRemovals(table.version);
    expect(changedIds(table, first)).toEqual([]);
    expect(table.hasForgotten(first)).toBe(true);
    expect(table.hasForgotten(table.version)).toBe(false);
  });
});

describe("framePieces", () => {
  it("gives a large line in pieces", () => {
    const nodes = Array.from({ length: 100 }, (_, index) => testNode(`n${index}`, someGpus(8)));
    const pieces = [
      ...framePieces(tableOf("gpus", fleetOf(viewOf("a", nodes))), {
        since: 0,
        filter: {},
        nowMs: 0,
      }),
    ];
    expect(pieces.length).toBeGreaterThan(4);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThan(80 * 1024);
    expect(pieces.at(-1)?.endsWith("]}\n")).toBe(true);
    expect(JSON.parse(pieces.join("")).rows).toHaveLength(800);
  });

  it("tells an empty fleet as a snapshot without rows", () => {
    expect(lineOf(tableOf("gpus", fleetOf()), 0)).toEqual({ type: "snapshot", rows: [] });
  });
});
