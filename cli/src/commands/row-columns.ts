import { type FleetResource, type FleetRow, isStaleRow, numberIn } from "../client/fleet-rows.ts";
import { at, textAt } from "../cluster-view.ts";
import {
  ageText,
  clockText,
  coresText,
  listText,
  memoryText,
  percentText,
  powerText,
  shareText,
  temperatureText,
} from "./row-text.ts";
import { cellText } from "./views.ts";

/** One column of a table of rows. */
export interface RowColumn {
  readonly title: string;
  /** The cell of a row. */
  text(row: FleetRow): string;
  /**
   * What the cell tells: what the row is about, its state, what was measured of it, or how old that is. Only
   * state and measurements make a row worth telling again.
   */
  readonly tells: "name" | "state" | "measurement" | "age";
  /** Whether it is the column that says how the row's thing is altogether. */
  readonly isStatus?: true;
  /** Share that a bar shows, 0-1; undefined when it is not known. Absent for columns without a bar. */
  ratio?(row: FleetRow): number | undefined;
}

const DEFAULT_MARK = "(simulated)";

/** Columns of `berth get`, and with bars those of `berth top`. */
export function rowColumns(
  resource: FleetResource,
  simulatedMark: string = DEFAULT_MARK,
): readonly RowColumn[] {
  if (resource === "clusters") return clusterColumns(simulatedMark);
  return resource === "nodes" ? nodeColumns(simulatedMark) : gpuColumns(simulatedMark);
}

function clusterColumns(mark: string): readonly RowColumn[] {
  return [
    name("CLUSTER", "id"),
    marked("STATUS", "status", mark),
    state("REGION", (row) => cellText(at(row, "region_id"))),
    state("NODES", (row) => shareText(numberIn(row, "healthy_nodes"), numberIn(row, "nodes"))),
    ...gpuCountColumns(),
    percent("UTIL", "gpu_utilization"),
    memory("GPU MEMORY", "gpu_memory_used", "gpu_memory_total"),
    {
      ...measured("CORES", (row) =>
        coresText(numberIn(row, "used_cpu"), numberIn(row, "total_cpu")),
      ),
      ratio: (row) => ratioOf(row, "used_cpu", "total_cpu"),
    },
    memory("MEMORY", "used_memory", "total_memory"),
    measured("POWER", (row) => powerText(numberIn(row, "power"))),
    AGE,
  ];
}

function nodeColumns(mark: string): readonly RowColumn[] {
  return [
    name("CLUSTER", "cluster_id"),
    name("NODE", "id"),
    marked("STATUS", "status", mark),
    state("MODELS", (row) => listText(at(row, "models"))),
    ...gpuCountColumns(),
    percent("UTIL", "gpu_utilization"),
    memory("GPU MEMORY", "gpu_memory_used", "gpu_memory_total"),
    state("CORES", (row) => cellText(at(row, "cpu_count"))),
    percent("CPU", "cpu_utilization"),
    memory("MEMORY", "memory_used", "memory_total"),
    measured("TEMP", (row) => temperatureText(numberIn(row, "max_temperature"))),
    measured("POWER", (row) => powerText(numberIn(row, "power"))),
    AGE,
    state("REASON", (row) => cellText(at(row, "reason"))),
  ];
}

function gpuColumns(mark: string): readonly RowColumn[] {
  return [
    name("CLUSTER", "cluster_id"),
    name("NODE", "node_id"),
    name("GPU", "id"),
    state("MODEL", modelText),
    marked("STATE", "state", mark),
    state("HEALTH", (row) => cellText(at(row, "health"))),
    percent("UTIL", "utilization"),
    memory("MEMORY", "memory_used", "memory_total"),
    measured("TEMP", (row) => temperatureText(numberIn(row, "temperature"))),
    measured("POWER", (row) => powerText(numberIn(row, "power"), numberIn(row, "power_limit"))),
    measured("CLOCK", (row) => clockText(numberIn(row, "sm_clock"))),
    measured("THROTTLED BY", (row) => listText(at(row, "throttle_reasons"))),
    measured("PROCS", (row) => cellText(at(row, "processes"))),
    state("INSTANCES", (row) => listText(at(row, "instances"))),
    AGE,
    state("REASON", (row) => cellText(at(row, "reason"))),
  ];
}

const AGE: RowColumn = { title: "AGE", text: rowAgeText, tells: "age" };

/** How old a row is, and that nobody reports it any more where that is so. */
function rowAgeText(row: FleetRow): string {
  const age = ageText(numberIn(row, "age_ms"));
  if (isStaleRow(row)) return `${age} stale`;
  return textAt(row, "quality") === "unavailable" ? `${age} unavailable` : age;
}

function gpuCountColumns(): readonly RowColumn[] {
  return [
    state("GPUS", (row) => cellText(at(row, "gpus"))),
    state("FREE", (row) => cellText(at(row, "free_gpus"))),
    state("UNHEALTHY", (row) => cellText(at(row, "unhealthy_gpus"))),
  ];
}

function name(title: string, member: string): RowColumn {
  return { title, text: (row) => cellText(at(row, member)), tells: "name" };
}

function state(title: string, text: RowColumn["text"]): RowColumn {
  return { title, text, tells: "state" };
}

function measured(title: string, text: RowColumn["text"]): RowColumn {
  return { title, text, tells: "measurement" };
}

/** A state, with a mark at what a simulator made up. */
function marked(title: string, member: string, mark: string): RowColumn {
  const text = (row: FleetRow) => {
    const status = cellText(at(row, member));
    return at(row, "simulated") === true ? `${status} ${mark}` : status;
  };
  return { ...state(title, text), isStatus: true };
}

function percent(title: string, member: string): RowColumn {
  const value = (row: FleetRow) => numberIn(row, member);
  return {
    ...measured(title, (row) => percentText(value(row))),
    ratio: (row) => {
      const found = value(row);
      return found === undefined ? undefined : found / 100;
    },
  };
}

function memory(title: string, used: string, total: string): RowColumn {
  return {
    ...measured(title, (row) => memoryText(numberIn(row, used), numberIn(row, total))),
    ratio: (row) => ratioOf(row, used, total),
  };
}

/** Share of a capacity in use, 0-1; undefined when either is not known. */
export function ratioOf(row: FleetRow, usedMember: string, totalMember: string) {
  const used = numberIn(row, usedMember);
  const total = numberIn(row, totalMember);
  return used === undefined || total === undefined || total <= 0 ? undefined : used / total;
}

/** The model, and into how many parts MIG has cut it. */
function modelText(row: FleetRow): string {
  const model = cellText(at(row, "model"));
  const devices = at(row, "mig_devices");
  const parts = Array.isArray(devices) ? devices.length : (numberIn(row, "mig_devices") ?? 0);
  return parts === 0 ? model : `${model} (${parts} MIG parts)`;
}
