/**
 * What the fake nvidia-smi prints, made of a recorded folder (examples/nvidia-smi/<name>). Pure but for
 * `loadRecording`, which reads the folder.
 */
import { readFileSync } from "node:fs";

const ALIASES = {
  "clocks.sm": "clocks.current.sm",
  "clocks.mem": "clocks.current.memory",
  "clocks.gr": "clocks.current.sm",
  gpu_uuid: "uuid",
  gpu_name: "name",
};

/** Reads a recording: the text of each file, the CSV cut into columns and rows. */
export function loadRecording(folder) {
  const read = (file) => readFileSync(new URL(file, folder), "utf8");
  const lines = read("query.csv").split("\n").filter(Boolean);
  const headAt = lines.findIndex((line) => line.includes(", uuid,"));
  const columns = lines[headAt].split(", ").map((title) => title.replace(/ \[.*$/, ""));
  const rows = lines.slice(headAt + 1).map((line) => {
    const cells = line.split(", ");
    return Object.fromEntries(columns.map((column, index) => [column, cells[index]]));
  });
  const texts = { xml: read("query.xml"), topo: read("topo.txt"), uuids: read("list.txt") };
  return { preface: lines.slice(0, headAt), columns, rows, ...texts };
}

/** The recording without the GPU of this index, and, unless it is silent, with what the driver says first. */
export function withoutGpu(recording, index, silent = false) {
  const lost = recording.rows.find((row) => row.index === index);
  if (lost === undefined) return recording;
  const bus = lost["pci.bus_id"].slice(4);
  const says = `Unable to determine the device handle for GPU${index}: ${bus}: Unknown Error`;
  const first = (text) => (silent ? text : `${says}\n${text}`);
  return {
    ...recording,
    preface: silent ? recording.preface : [says, ...recording.preface],
    rows: recording.rows.filter((row) => row !== lost),
    xml: first(xmlWithout(recording.xml, lost["pci.bus_id"])),
    topo: first(topoWithout(recording.topo, `GPU${index}`)),
    uuids: first(uuidsWithout(recording.uuids, index)),
  };
}

function xmlWithout(xml, bus) {
  const from = xml.indexOf(`\t<gpu id="${bus}">`);
  const end = "\t</gpu>\n";
  return xml.slice(0, from) + xml.slice(xml.indexOf(end, from) + end.length);
}

function topoWithout(topo, name) {
  const [matrix, ...legend] = topo.split("\n\n");
  const lines = matrix.split("\n");
  const bare = (cell) => cell.replaceAll("\u001b[4m", "").replaceAll("\u001b[0m", "");
  const head = lines.find((line) => bare(line).startsWith("\tGPU")) ?? "";
  const column = head.split("\t").findIndex((cell) => bare(cell) === name);
  const kept = lines.filter((line) => !line.startsWith(`${name}\t`));
  const cut = kept.map((line) =>
    line
      .split("\t")
      .filter((_cell, at) => at !== column)
      .join("\t"),
  );
  return [cut.join("\n"), ...legend].join("\n\n");
}

function uuidsWithout(list, index) {
  const blocks = list.split(/^(?=GPU )/m);
  return blocks.filter((block) => !block.startsWith(`GPU ${index}:`)).join("");
}

/** First field that this driver does not know; undefined when it knows all. */
export function unknownField(recording, fields) {
  return fields.find((field) => !recording.columns.includes(ALIASES[field] ?? field));
}

/**
 * One line of the CSV. With a seed the load drifts from round to round: the same seed and round give the
 * same line. `unknown` names fields whose value is an error.
 */
export function csvLine(row, fields, { round, seed, unknown = new Set() }) {
  const now = seed === undefined ? row : drifted(row, round, seed);
  const cell = (field) => (unknown.has(field) ? "[Unknown Error]" : now[ALIASES[field] ?? field]);
  return fields.map(cell).join(", ");
}

function drifted(row, round, seed) {
  const index = Number(row.index);
  const phase = (hash(seed, index) % 628) / 100;
  const period = 40 + (hash(seed, index + 64) % 80);
  const noise = ((hash(seed, index * 65_536 + round) % 1_000) - 500) / 500;
  const wave = (Math.sin(phase + (2 * Math.PI * round) / period) + 1) / 2;
  const load = Math.min(1, Math.max(0, wave + noise * 0.05));
  const total = Number(row["memory.total"]);
  const usable = Number(row["memory.used"]) + Number(row["memory.free"]);
  const used = Math.round(Math.min(usable, total * (0.05 + 0.85 * wave)));
  const changes = {
    "utilization.gpu": Math.round(100 * load),
    "utilization.memory": Math.round(60 * load),
    "temperature.gpu": Math.round(32 + 40 * load),
    "power.draw": (Number(row["power.limit"]) * (0.12 + 0.8 * load)).toFixed(2),
    "memory.used": used,
    "memory.free": usable - used,
  };
  // What the device could not say in the recording it cannot say now either.
  const says = (name) => /^\d/.test(row[name]) && Number.isFinite(Number(changes[name]));
  const kept = Object.entries(changes).filter(([name]) => says(name));
  return { ...row, ...Object.fromEntries(kept.map(([name, value]) => [name, String(value)])) };
}

/** A well-mixed 32-bit number of a seed and a counter (the finalizer of MurmurHash3, public domain). */
function hash(seed, counter) {
  let mixed = (seed ^ Math.imul(counter + 1, 0x9e37_79b1)) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b) >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35) >>> 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
