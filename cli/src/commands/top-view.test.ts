import { describe, expect, it } from "vitest";
import type { FleetResource, FleetRow } from "../client/fleet-rows.ts";
import { lineText } from "../client/styled-text.ts";
import { clusterRow, gpuRow, nodeRow } from "../testing/fleet-view-server.ts";
import { summaryOf } from "./top-summary.ts";
import { type TopSurface, TopView } from "./top-view.ts";

const WIDE = { width: 200, bars: true };

function painted(resource: FleetResource, rows: readonly FleetRow[], surface: TopSurface) {
  const view = new TopView(resource, `berth top ${resource}`);
  const summary = summaryOf(resource, rows);
  const { lines, from } = view.paint({ summary, rows, notices: ["a notice"] }, surface);
  return { text: lines.map((line) => lineText(line, { styled: false })), from };
}

describe("TopView", () => {
  it("shows the whole above the busiest rows", () => {
    const busy = nodeRow({ id: "n2", simulated: true, gpu_utilization: 93, gpu_memory_used: null });
    const { text } = painted("nodes", [nodeRow(), busy], WIDE);
    expect(text).toEqual([
      "berth top nodes  partly simulated",
      "a notice",
      "2 nodes (2 healthy)   16 GPUs (12 free, 0 unhealthy)   3200 W",
      "GPUs [||||||||||||        ] 59%   GPU memory [|||||               ] 160.0/640.0 GiB   cores [||                  ] 12.8/128   memory [|||||               ] 128.0/512.0 GiB",
      "",
      "CLUSTER  NODE  STATUS         UTIL               GPU MEMORY                    GPUS  FREE  UNHEALTHY  CPU               MEMORY                       TEMP   POWER   AGE   REASON",
      "c1       n2    healthy (sim)  [||||||||| ]  93%  [          ]     -/640.0 GiB  8     6     0          [|         ] 10%  [|||       ] 64.0/256.0 GiB  61 °C  1600 W  0.8s  -",
      "c1       n1    healthy        [|||       ]  25%  [|||       ] 160.0/640.0 GiB  8     6     0          [|         ] 10%  [|||       ] 64.0/256.0 GiB  61 °C  1600 W  0.8s  -",
    ]);
  });

  it("fills the height, and scrolls as far as there are rows", () => {
    const rows = Array.from({ length: 9 }, (_none, i) => gpuRow({ id: String(i) }));
    const top = painted("gpus", rows, { ...WIDE, height: 10 });
    expect(top.text).toHaveLength(10);
    expect(top.text.at(-1)).toMatch(/^1-3 of 9 /);
    const end = painted("gpus", rows, { ...WIDE, height: 10, from: 99 });
    expect(end.from).toBe(6);
    expect(end.text.at(-2)).toMatch(/^c1 +n1 +8 /);
    expect(painted("gpus", rows, { ...WIDE, height: 10, from: -5 }).from).toBe(0);
    const roomy = painted("gpus", rows, { ...WIDE, height: 40 });
    expect(roomy.text).toHaveLength(40);
    expect(roomy.text.at(-1)).toMatch(/^1-9 of 9 /);
    expect(painted("gpus", [], { ...WIDE, height: 10 }).text.at(-1)).toMatch(/^nothing yet/);
    expect(painted("gpus", rows, { ...WIDE, height: 2 }).text.at(-1)).toMatch(/^1-1 of 9 /);
  });

  it("keeps the table on a low terminal, and of the head what comes first", () => {
    const rows = Array.from({ length: 9 }, (_none, i) => gpuRow({ id: String(i) }));
    const low = painted("gpus", rows, { ...WIDE, height: 6 }).text;
    expect(low).toHaveLength(6);
    expect(low.slice(0, 3)).toEqual([
      "berth top gpus",
      "a notice",
      expect.stringMatching(/^CLUSTER/),
    ]);
    expect(low.at(-1)).toMatch(/^1-2 of 9 /);
    expect(painted("gpus", rows, { ...WIDE, height: 4 }).text).toEqual([
      "berth top gpus",
      expect.stringMatching(/^CLUSTER/),
      expect.stringMatching(/^c1 +n1 +0 /),
      expect.stringMatching(/^1-1 of 9 /),
    ]);
  });

  it("makes bars shorter where there is little room, and leaves them out where none are wanted", () => {
    const barOf = (width: number, bars = true) =>
      /\[.*?\]/.exec(painted("clusters", [clusterRow()], { width, bars }).text.at(-1) ?? "")?.[0];
    expect([200, 160, 60].map((width) => barOf(width))).toEqual([
      "[|||       ]",
      "[||    ]",
      "[|   ]",
    ]);
    expect(barOf(200, false)).toBeUndefined();
  });

  it("shows unhealthy rows in red and stale ones dim", () => {
    const rows = [
      gpuRow({ state: "unhealthy", reason: "XID 79", utilization: 5 }),
      gpuRow({ id: "1", quality: "stale", state: "unhealthy", reason: "silent", utilization: 1 }),
    ];
    const view = new TopView("gpus", "t");
    const { lines } = view.paint({ summary: summaryOf("gpus", rows), rows }, WIDE);
    const [failed = "", stale = ""] = lines
      .slice(-2)
      .map((line) => lineText(line, { styled: true }));
    expect(failed).toContain("\u001b[31munhealthy");
    expect(failed).toContain("\u001b[31mXID 79");
    expect(stale).toContain("\u001b[2munhealthy");
    expect(stale).not.toContain("\u001b[31m");
  });

  it("shows all columns that it names", () => {
    const headings = (["clusters", "nodes", "gpus"] as const).map((resource) =>
      painted(resource, [], { width: 300, bars: false }).text.at(-1)?.split(/ {2,}/),
    );
    expect(headings.map((titles) => titles?.length)).toEqual([12, 14, 15]);
  });
});
