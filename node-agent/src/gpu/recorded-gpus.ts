import { type GpuSample, GpuSampleSchema, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { detailsOf } from "./gpu-details.ts";
import { inventoryOf } from "./gpu-inventory.ts";
import type { GpuInventory } from "./gpu-source.ts";
import {
  INVENTORY_FIELDS,
  parseInventoryLine,
  parseSampleLine,
  SAMPLE_FIELDS,
} from "./smi-fields.ts";
import { parseMigList } from "./smi-list.ts";
import { parseTopology } from "./smi-topology.ts";
import { parseSmiXml } from "./smi-xml.ts";

/** What `nvidia-smi` printed on a machine: the files of a recording (examples/nvidia-smi). */
export interface SmiRecording {
  /** `--query-gpu=<every field> --format=csv,nounits`, with its header line. */
  readonly csv: string;
  /** `-q -x`. */
  readonly xml: string;
  /** `topo -m`. */
  readonly topo: string;
  /** `-L`. */
  readonly list: string;
}

/** The GPUs of a recording. */
export interface RecordedGpus {
  readonly inventory: GpuInventory;
  /** One reading per GPU, in the inventory's order, with its details. */
  readonly samples: readonly GpuSample[];
}

/** Names that the CSV's header has for fields that are asked for under another name. */
const COLUMNS: Readonly<Record<string, string>> = {
  "clocks.sm": "clocks.current.sm",
  "clocks.mem": "clocks.current.memory",
};

/** Reads a recording with the parsers that read the driver; lines that are no GPU are passed over. */
export function recordedGpus({ csv, xml, topo, list }: SmiRecording): RecordedGpus {
  const rows = rowsOf(csv);
  const line = (row: ReadonlyMap<string, string>, fields: readonly string[]) =>
    fields.map((field) => row.get(COLUMNS[field] ?? field) ?? "[N/A]").join(", ");
  const gpus = rows.flatMap((row) => parseInventoryLine(line(row, INVENTORY_FIELDS)) ?? []);
  const parts = parseMigList(list.split("\n"));
  const matrix = parseTopology(topo.split("\n"));
  const log = parseSmiXml(xml);
  const inventory = inventoryOf({
    known: { gpus, error: "", remarks: [] },
    survey: { gpus, parts, matrix, log, incomplete: false },
    driverHung: false,
    logRemarks: [],
  });
  const readings = rows.flatMap((row) => parseSampleLine(line(row, SAMPLE_FIELDS)) ?? []);
  const samples = inventory.gpus.map((gpu) => {
    const reading = readings.find(({ uuid }) => uuid === gpu.uuid);
    const logged = log?.gpus.find(({ uuid }) => uuid === gpu.uuid);
    return create(GpuSampleSchema, {
      ...reading?.values,
      uuid: gpu.uuid,
      quality: reading === undefined ? Quality.UNAVAILABLE : Quality.MEASURED,
      ...(logged === undefined ? {} : { details: detailsOf(logged, gpu) }),
    });
  });
  return { inventory, samples };
}

function rowsOf(csv: string): ReadonlyMap<string, string>[] {
  const lines = csv.split("\n").filter((line) => line !== "");
  const headAt = lines.findIndex((line) => line.includes(", uuid,"));
  const columns = lines[headAt]?.split(", ").map((title) => title.replace(/ \[.*$/, "")) ?? [];
  return lines.slice(headAt + 1).map((line) => {
    const cells = line.split(", ");
    return new Map(columns.map((column, at) => [column, cells[at] ?? ""]));
  });
}
