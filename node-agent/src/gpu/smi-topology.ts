import { type GpuInfo, type GpuTopology, GpuTopologySchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { textOf } from "./smi-value.ts";

/** One GPU's row of `nvidia-smi topo -m`. */
export interface TopologyRow {
  readonly driverIndex: number;
  /** Path by the name of the column: "GPU0", "NIC0". */
  readonly links: ReadonlyMap<string, string>;
  readonly cpuAffinity: string;
  readonly numaAffinity: string;
}

/** What `nvidia-smi topo -m` prints. */
export interface TopologyMatrix {
  /** Network cards by the name of their column, with the name that the legend gives them. */
  readonly nics: ReadonlyMap<string, string>;
  readonly rows: readonly TopologyRow[];
}

const ESC = String.fromCharCode(27);
const ANSI = new RegExp(`${ESC}\\[[0-9;]{0,16}m`, "g");
const GPU_NAME = /^GPU(\d{1,3})$/;
const LINK = /^[A-Z]{1,6}\d{0,3}$/;
const CPU_LIST = /^\d[\d,-]{0,255}$/;
const LEGEND_NAME = /^\s*(NIC\d{1,3}): ([\w.:-]{1,64})\s*$/;
const MAX_LINES = 1_024;
const MAX_COLUMNS = 192;

/**
 * Reads the lines of `nvidia-smi topo -m`, whose cells are parted by tabs (the header may be
 * underlined): a row per GPU, columns for GPUs, network cards, CPU affinity, NUMA affinity and, from
 * driver 535, the GPU's own NUMA id. A cell of any other form is left out, an affinity of any other
 * form is "". Undefined when there is no matrix. Never throws.
 */
export function parseTopology(text: readonly string[]): TopologyMatrix | undefined {
  const lines = text.slice(0, MAX_LINES).map((line) => line.replace(ANSI, ""));
  const headAt = lines.findIndex((line) => /^\s+GPU\d{1,3}\s/.test(line));
  const head = lines[headAt]?.trim().split(/\t+/).map(trimmed).slice(0, MAX_COLUMNS) ?? [];
  const last = head.findIndex((name) => name.endsWith("Affinity"));
  const columns = last < 0 ? head : head.slice(0, last);
  const rows = lines
    .slice(headAt + 1)
    .map((line) => rowOf(line, columns, head.includes("GPU NUMA ID")))
    .filter((row) => row !== undefined);
  if (headAt < 0 || rows.length === 0) return undefined;
  return { nics: nicsOf(columns, lines), rows };
}

function rowOf(
  line: string,
  columns: readonly string[],
  endsWithGpuNuma: boolean,
): TopologyRow | undefined {
  const [name = "", ...cells] = line.split("\t").map(trimmed);
  const index = GPU_NAME.exec(name)?.[1];
  if (index === undefined || cells.length < columns.length) return undefined;
  const links = new Map<string, string>();
  for (const [at, column] of columns.entries()) {
    const link = cells[at] ?? "";
    if (LINK.test(link)) links.set(column, link);
  }
  const [cpu = "", ...rest] = cells.slice(columns.length);
  // Wide headings leave empty cells before the next value.
  const behind = endsWithGpuNuma && rest.length > 1 ? rest.slice(0, -1) : rest;
  const numa = behind.find((cell) => cell !== "") ?? "";
  return {
    driverIndex: Number(index),
    links,
    cpuAffinity: affinityOf(cpu),
    numaAffinity: affinityOf(numa),
  };
}

function nicsOf(columns: readonly string[], lines: readonly string[]): Map<string, string> {
  const named = new Map<string, string>();
  for (const line of lines) {
    const [, column, name] = LEGEND_NAME.exec(line) ?? [];
    if (column !== undefined && name !== undefined) named.set(column, name);
  }
  const nics = columns.filter((column) => !GPU_NAME.test(column));
  return new Map(nics.map((column) => [column, (named.get(column) ?? column).slice(0, 64)]));
}

/**
 * The matrix as the fingerprint carries it: a row per GPU of the fingerprint, in its order; a link that
 * the driver did not tell is "". `surveyed` are the GPUs with the indexes that they had when the matrix
 * was printed.
 */
export function topologyOf(
  matrix: TopologyMatrix,
  surveyed: readonly GpuInfo[],
  gpus: readonly GpuInfo[],
): GpuTopology {
  const rows = new Map(matrix.rows.map((row) => [row.driverIndex, row]));
  const indexes = new Map(surveyed.map((gpu) => [gpu.uuid, gpu.driverIndex]));
  const columns = [...gpus.map((gpu) => `GPU${indexes.get(gpu.uuid)}`), ...matrix.nics.keys()];
  return create(GpuTopologySchema, {
    nics: [...matrix.nics.values()],
    rows: gpus.map(({ uuid }) => {
      const row = rows.get(indexes.get(uuid) ?? -1);
      return {
        uuid,
        links: columns.map((column) => row?.links.get(column) ?? ""),
        cpuAffinity: row?.cpuAffinity ?? "",
        numaAffinity: row?.numaAffinity ?? "",
      };
    }),
  });
}

function affinityOf(cell: string): string {
  return CPU_LIST.test(cell) ? (textOf(cell) ?? "") : "";
}

function trimmed(cell: string): string {
  return cell.trim();
}
