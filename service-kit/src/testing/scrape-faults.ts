/**
 * What is wrong with an answer of `GET /metrics`, one line for each fault; nothing when it is as it should be. As
 * strict as the text format (https://prometheus.io/docs/instrumenting/exposition_formats/) and its naming rules
 * (https://prometheus.io/docs/practices/naming/): each family once, with HELP, TYPE and samples in that order,
 * counters end in `_total` and nothing else does, the suffixes of histograms and summaries are theirs alone, no
 * series stands twice, buckets are cumulative up to `+Inf`.
 */
export function scrapeFaults(text: string): string[] {
  const faults: string[] = [];
  if (!text.endsWith("\n")) faults.push("the last line has no end");
  const names = new Set<string>();
  for (const block of familyBlocks(text.split("\n"))) {
    const family = readFamily(block, faults);
    if (family === undefined) continue;
    if (names.has(family.name)) faults.push(`${family.name}: stands twice`);
    names.add(family.name);
    faults.push(...familyFaults(family).map((fault) => `${family.name}: ${fault}`));
  }
  if (names.size === 0) faults.push("there is no family");
  return faults;
}

interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

const HELP = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)$/;
const TYPE = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\n"])*)"(?:,|$)/y;
const VALUE = /^(?:[+-]?Inf|NaN|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$/;
const RESERVED = /_(?:sum|count|bucket|created)$/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"],
};

/** The lines from one HELP to the next. */
function familyBlocks(lines: readonly string[]): readonly (readonly string[])[] {
  const blocks: string[][] = [];
  for (const line of lines) {
    if (line === "") continue;
    if (blocks.length === 0 || line.startsWith("# HELP ")) blocks.push([]);
    blocks.at(-1)?.push(line);
  }
  return blocks;
}

function readFamily(block: readonly string[], faults: string[]): Family | undefined {
  const [help = "", type = "", ...lines] = block;
  const [, name] = HELP.exec(help) ?? [];
  const [, typeOf, kind] = TYPE.exec(type) ?? [];
  if (name === undefined || kind === undefined || typeOf !== name) {
    faults.push(`expected HELP and TYPE of one family, got ${JSON.stringify([help, type])}`);
    return undefined;
  }
  const samples = lines.flatMap((line): Sample[] => {
    const sample = readSample(line);
    if (sample === undefined) faults.push(`${name}: ${JSON.stringify(line)} is no sample`);
    return sample === undefined ? [] : [sample];
  });
  return { name, type: kind, samples };
}

function readSample(line: string): Sample | undefined {
  const [, name, labelText = "", value = ""] = SAMPLE.exec(line) ?? [];
  const labels = readLabels(labelText);
  if (name === undefined || labels === undefined || !VALUE.test(value)) return undefined;
  return { name, labels, value: numberOf(value) };
}

function readLabels(text: string): ReadonlyMap<string, string> | undefined {
  const labels = new Map<string, string>();
  LABEL.lastIndex = 0;
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name, value] = LABEL.exec(text) ?? [];
    if (name === undefined || value === undefined || labels.has(name)) return undefined;
    labels.set(name, value);
  }
  return labels;
}

function familyFaults(family: Family): string[] {
  const { name, type, samples } = family;
  const faults = samples.length === 0 ? ["has no sample"] : [];
  if (RESERVED.test(name)) faults.push("ends as parts of other families do");
  if (name.endsWith("_total") !== (type === "counter")) {
    faults.push(`is a ${type}: counters end in _total, and nothing else`);
  }
  const suffixes = SUFFIXES[type] ?? [""];
  const series = new Set<string>();
  for (const sample of samples) {
    if (!suffixes.some((suffix) => sample.name === name + suffix)) {
      faults.push(`${sample.name} is not of it`);
    }
    const key = `${sample.name}{${labelKey(sample.labels)}}`;
    if (series.has(key)) faults.push(`${key} stands twice`);
    series.add(key);
    if (type !== "gauge" && sample.value < 0) faults.push(`${key} is below 0`);
  }
  return type === "histogram" ? [...faults, ...histogramFaults(family)] : faults;
}

/** Each histogram has rising buckets up to "+Inf", which is the count, and a sum. */
function histogramFaults({ name, samples }: Family): string[] {
  const faults: string[] = [];
  const one = (suffix: string, of: string) =>
    samples.find((sample) => sample.name === name + suffix && labelKey(sample.labels) === of);
  const buckets = Map.groupBy(
    samples.filter((sample) => sample.name === `${name}_bucket`),
    ({ labels }) => labelKey(labels, "le"),
  );
  if (buckets.size === 0) faults.push("has no buckets");
  for (const [of, rows] of buckets) {
    const bounds = rows.map(({ labels }) => numberOf(labels.get("le") ?? "NaN"));
    const counts = rows.map(({ value }) => value);
    if (!isRising(bounds, true) || !isRising(counts, false)) faults.push("its buckets do not rise");
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) faults.push('its last bucket is not "+Inf"');
    if (one("_count", of)?.value !== counts.at(-1)) faults.push("its count is another than +Inf's");
    if (one("_sum", of) === undefined) faults.push("it has no sum");
  }
  return faults;
}

function isRising(values: readonly number[], strictly: boolean): boolean {
  return values.every((value, index) => {
    const before = values[index - 1];
    return before === undefined || (strictly ? value > before : value >= before);
  });
}

function labelKey(labels: ReadonlyMap<string, string>, without = ""): string {
  const rest = [...labels].filter(([name]) => name !== without);
  return rest
    .map(([name, value]) => `${name}="${value}"`)
    .toSorted()
    .join(",");
}

function numberOf(text: string): number {
  if (/^\+?Inf$/.test(text)) return Number.POSITIVE_INFINITY;
  return text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text);
}
