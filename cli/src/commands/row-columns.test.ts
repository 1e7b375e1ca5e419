import { describe, expect, it } from "vitest";
import { FLEET_RESOURCES, type FleetResource, type FleetRow } from "../client/fleet-rows.ts";
import { clusterRow, gpuRow, nodeRow } from "../testing/fleet-view-server.ts";
import { rowsTable } from "./get.ts";
import { rowColumns } from "./row-columns.ts";

function shown(resource: FleetResource, row: FleetRow): Readonly<Record<string, string>> {
  const { columns, rows } = rowsTable(resource, [row]);
  return Object.fromEntries(columns.map((column, i) => [column, rows[0]?.[i] ?? ""]));
}

describe("rowColumns", () => {
  it("shows a cluster", () => {
    expect(shown("clusters", clusterRow({ simulated: true, healthy_nodes: 1 }))).toEqual({
      ...{ CLUSTER: "c1", STATUS: "live (simulated)", REGION: "eu", NODES: "1/2", GPUS: "16" },
      ...{ FREE: "12", UNHEALTHY: "0", UTIL: "25%", "GPU MEMORY": "320.0/1280.0 GiB" },
      ...{ CORES: "12.8/128", MEMORY: "128.0/512.0 GiB", POWER: "3200 W", AGE: "0.4s" },
    });
  });

  it("shows a node, also one that is silent", () => {
    const reason = "telemetry lost: silent for 21 s";
    const row = nodeRow({ status: "unhealthy", quality: "stale", age_ms: 21_000, reason });
    expect(shown("nodes", row)).toEqual({
      ...{ CLUSTER: "c1", NODE: "n1", STATUS: "unhealthy", MODELS: "NVIDIA H100", GPUS: "8" },
      ...{ FREE: "6", UNHEALTHY: "0", UTIL: "25%", "GPU MEMORY": "160.0/640.0 GiB", CORES: "64" },
      ...{ CPU: "10%", MEMORY: "64.0/256.0 GiB", TEMP: "61 °C", POWER: "1600 W" },
      ...{ AGE: "21s stale", REASON: reason },
    });
  });

  it("shows a GPU, and into how many parts MIG has cut it", () => {
    const mig_devices = [{ uuid: "MIG-1", profile: "3g.20gb" }, { uuid: "MIG-2" }];
    const row = gpuRow({ mig_devices, throttle_reasons: ["sw_power_cap"], health: "info" });
    expect(shown("gpus", row)).toEqual({
      ...{ CLUSTER: "c1", NODE: "n1", GPU: "0", MODEL: "NVIDIA H100 (2 MIG parts)" },
      ...{ STATE: "free", HEALTH: "info", UTIL: "37%", MEMORY: "20.0/80.0 GiB", TEMP: "54 °C" },
      ...{ POWER: "312/700 W", CLOCK: "1980 MHz", "THROTTLED BY": "sw_power_cap", PROCS: "2" },
      ...{ INSTANCES: "i1", AGE: "0.9s", REASON: "-" },
    });
  });

  it("shows dashes for all that is not known, and survives what is no row of its kind", () => {
    for (const resource of FLEET_RESOURCES) {
      for (const row of [{}, { models: 1, mig_devices: "x", age_ms: "y", gpus: { a: [] } }]) {
        const cells = Object.values(shown(resource, row));
        expect(cells.every((cell) => /^(-|1|\{"a":\[\]\})$/.test(cell))).toBe(true);
      }
    }
    expect(shown("gpus", gpuRow({ quality: "unavailable", age_ms: null })).AGE).toBe(
      "- unavailable",
    );
  });

  it("has shares for bars where capacities are known", () => {
    const ratios = (resource: FleetResource, row: FleetRow) =>
      rowColumns(resource).flatMap(({ title, ratio }) => (ratio ? [[title, ratio(row)]] : []));
    expect(ratios("gpus", gpuRow())).toEqual([
      ["UTIL", 0.37],
      ["MEMORY", 0.25],
    ]);
    expect(ratios("gpus", gpuRow({ memory_total: 0, utilization: null }))).toEqual([
      ["UTIL", undefined],
      ["MEMORY", undefined],
    ]);
    expect(ratios("clusters", clusterRow())).toContainEqual(["CORES", 0.1]);
  });
});
