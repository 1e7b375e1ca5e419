import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import type { FleetRow } from "../client/fleet-rows.ts";
import { gpuRow } from "../testing/fleet-view-server.ts";
import { WatchPrinter, type WatchPrinterOptions } from "./watch-printer.ts";

const changed = (row: FleetRow) => ({ kind: "changed", row }) as const;
const removed = (row: FleetRow) => ({ kind: "removed", row }) as const;
const printer = (over: Partial<WatchPrinterOptions> = {}) =>
  new WatchPrinter({ resource: "gpus", form: "table", samples: true, ...over });

describe("WatchPrinter", () => {
  it("prints a heading once, then a line for each row that looks different", () => {
    const watch = printer();
    const first = watch.print([changed(gpuRow()), changed(gpuRow({ id: "1" }))]).split("\n");
    expect(first).toHaveLength(4);
    expect(first[0]).toMatch(/^CLUSTER +NODE +GPU +MODEL +STATE/);
    // What the cells round is no difference, nor is the age.
    expect(watch.print([changed(gpuRow({ power: 312.3, age_ms: 1 }))])).toBe("");
    expect(watch.print([changed(gpuRow({ power: 400 }))])).toMatch(/^c1 .* 400\/700 W .*\n$/);
  });

  it("leaves out rows of which only measurements changed when it is asked to", () => {
    const watch = printer({ samples: false });
    watch.print([changed(gpuRow())]);
    expect(watch.print([changed(gpuRow({ power: 400, utilization: 99 }))])).toBe("");
    const failed = gpuRow({ state: "unhealthy", reason: "XID 79" });
    expect(watch.print([changed(failed)])).toMatch(/unhealthy.*XID 79\n$/);
    expect(watch.print([changed({ ...failed, quality: "stale" })])).toMatch(/0\.9s stale/);
  });

  it("says which row is gone, and shows it again when it comes back", () => {
    const watch = printer();
    watch.print([changed(gpuRow())]);
    expect(watch.print([removed(gpuRow())])).toMatch(/^c1 +n1 +0 +- +removed +-/);
    expect(watch.print([changed(gpuRow())])).toMatch(/^c1 .* free /);
  });

  it("says of GPUs in one state only that they are not in it any more", () => {
    const watch = printer({ state: "free" });
    watch.print([changed(gpuRow())]);
    expect(watch.print([removed(gpuRow())])).toMatch(/^c1 +n1 +0 +- +not free +-/);
  });

  it("prints one JSON line per change", () => {
    const watch = printer({ form: "json" });
    const text = watch.print([changed(gpuRow()), removed(gpuRow({ id: "1" }))]);
    expect(
      text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([gpuRow(), gpuRow({ id: "1", removed: true })]);
    expect(watch.print([changed(gpuRow({ age_ms: 5 }))])).toBe("");
    expect(watch.print([changed(gpuRow({ power: 312.3 }))])).not.toBe("");
  });

  it("prints one YAML document per change", () => {
    const text = printer({ form: "yaml" }).print([changed(gpuRow()), removed(gpuRow())]);
    expect(parseAllDocuments(text).map((document) => document.toJS())).toEqual([
      gpuRow(),
      gpuRow({ removed: true }),
    ]);
  });
});
