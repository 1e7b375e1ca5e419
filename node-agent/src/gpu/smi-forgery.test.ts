import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadSmiFixture } from "../testing/smi-fixture.ts";
import { parseSmiXml } from "./smi-xml.ts";

const { xml } = await loadSmiFixture("h100");
const honest = parseSmiXml(xml);
const uuids = honest?.gpus.map(({ uuid }) => uuid) ?? [];
const [victim = ""] = uuids.slice(5);
const NAME = "<process_name>/opt/serve/bin/python3</process_name>";

/** The recording with a program of this name on GPU 1, whose pid is 40001, twice on GPU 6. */
const named = (name: string) => xml.replaceAll(NAME, () => `<process_name>${name}</process_name>`);
/** A name that ends its own section and tells of another GPU, as the driver would. */
const forged = (uuid: string, values: string, gap = "") =>
  [
    "python</process_name>",
    "\t\t\t\t<used_memory>1 MiB</used_memory>",
    "\t\t\t</process_info>",
    "\t\t</processes>",
    "\t</gpu>",
    '\t<gpu id="00000000:9A:00.0">',
    `\t\t<uuid>${uuid}</uuid>${values}`,
    "\t\t<processes>",
    "\t\t\t<process_info>",
    "\t\t\t\t<pid>1</pid>",
    "\t\t\t\t<process_name>",
  ].join(gap);
const FAILED =
  "<remapped_rows><remapped_row_pending>No</remapped_row_pending><remapped_row_failure>Yes</remapped_row_failure></remapped_rows>";

/** What counts for health: everything but the programs. */
const health = (text: string) =>
  parseSmiXml(text)?.gpus.map(({ processes: _programs, ...values }) => values);

describe("a program's name", () => {
  it.each(["", "\n"])("cannot forge what is told of another GPU, in lines of %j", (gap) => {
    const log = parseSmiXml(named(forged(victim, FAILED, gap)));
    expect(log?.gpus.map(({ uuid }) => uuid)).toEqual(uuids.filter((uuid) => uuid !== victim));
    expect(log?.gpus.some(({ rowRemapFailed }) => rowRemapFailed === true)).toBe(false);
    expect(log?.doubt).toMatch(/^1 GPU is told of more than once/);
  });

  it("cannot take a GPU's own failure away", () => {
    const failing = xml.replace(
      "<remapped_row_failure>No</remapped_row_failure>",
      "<remapped_row_failure>Yes</remapped_row_failure>",
    );
    const [first = ""] = uuids;
    const text = failing.replaceAll(
      NAME,
      () => `<process_name>${forged(first, FAILED.replace("Yes", "No"))}</process_name>`,
    );
    const told = parseSmiXml(text)?.gpus.find(({ uuid }) => uuid === first);
    expect(told).toBeUndefined();
  });

  it.each([
    "</gpu>",
    "a\n b</gpu>",
    "</process_name><pid>7</pid>",
    "</process_name></process_info></processes></gpu>",
    "</nvidia_smi_log>",
    "<!--",
    "<![CDATA[",
    "<?xml",
    "<!DOCTYPE x [",
    '<gpu id="',
    '<gpu id="0"><uuid>',
    "<processes>",
    "<process_info>",
    "</process_info><process_info>",
    "\"'&#0;&#x110000;&x;]]>\u0000\u0007\ud800",
    "<a>".repeat(100),
  ])("%j hides no GPU and changes nothing of its health", (name) => {
    expect(health(named(name))).toEqual(health(xml));
    const programs = parseSmiXml(named(name))?.gpus[1]?.processes.map(({ pid }) => pid);
    expect(programs?.[0]).toBe(40_001);
  });

  it("is read whole where it holds tags, with what stands behind it", () => {
    const [program] = parseSmiXml(named("a</process_name><pid>7</pid>"))?.gpus[1]?.processes ?? [];
    const name = "a</process_name><pid>7</pid>";
    expect(program).toEqual({ pid: 40_001, name, memoryUsedMib: 512n });
  });

  it.each([
    ["\ud800", "\ufffd"],
    [`${"x".repeat(127)}\u{1f600}`, `${"x".repeat(127)}\ufffd`],
    ["&amp;".repeat(300), "&".repeat(128)],
  ])("is cut to whole signs where it is too long or broken: %j", (name, read) => {
    expect(parseSmiXml(named(name))?.gpus[1]?.processes[0]?.name).toBe(read);
  });

  it("cannot crowd out the GPUs of the machine", () => {
    const crowd = Array.from({ length: 80 }, (_none, at) =>
      forged(`GPU-00000000-${String(at).padStart(4, "0")}`, FAILED),
    );
    const log = parseSmiXml(named(crowd.join("")));
    expect(log?.gpus).toEqual([]);
    expect(log?.doubt).toMatch(/^more than 64 GPUs are told of/);
  });

  it("changes nothing of the health of any GPU that is told of once, whatever it is", () => {
    const pieces = fc.constantFrom(
      ...["<", ">", "</gpu>", '<gpu id="', "<uuid>", "</uuid>", victim, "<process_info>", "<pid>"],
      ...["</process_name>", "<process_name>", "<processes>", "</processes>", "\n", "\t", "&", "9"],
      ...["</nvidia_smi_log>", "<nvidia_smi_log>", FAILED, "<!--", "-->", "<![CDATA[", "]]>", "x"],
    );
    const expected = new Map(honest?.gpus.map((gpu) => [gpu.uuid, gpu]));
    fc.assert(
      fc.property(fc.string({ unit: pieces, maxLength: 40 }), (name) => {
        const log = parseSmiXml(named(name));
        const told = new Set(log?.gpus.map(({ uuid }) => uuid));
        const missing = uuids.filter((uuid) => !told.has(uuid));
        expect(missing.length === 0 || log?.doubt !== undefined).toBe(true);
        for (const { processes: _programs, ...values } of log?.gpus ?? []) {
          const { processes: _known, ...before } = expected.get(values.uuid) ?? {};
          expect(values).toEqual(before);
        }
      }),
      { numRuns: 200 },
    );
  });
});

it("takes no document for whole behind whose end more follows, or that has none", () => {
  const cutOff = `${xml.slice(0, xml.indexOf("</nvidia_smi_log>") - 2_000)}`;
  expect(parseSmiXml(cutOff)).toBeUndefined();
  const end = `<process_name>x</process_name>\n</nvidia_smi_log>\n`;
  expect(parseSmiXml(`${cutOff}${end}<used_memory>`)).toBeUndefined();
  expect(parseSmiXml(`${xml}WARNING: infoROM is corrupted\n`)?.gpus).toHaveLength(8);
});

it.each([
  "<process_name>",
  "<process_info>",
  '<gpu id="',
  `<gpu id="0"><uuid>${victim}</uuid>`,
  "<?xml",
  "<?xml<nvidia_smi_log>",
  "<!DOCTYPE ",
  "<uuid>",
  "</nvidia_smi_log>",
  "&",
])("does not hang on megabytes of %j", { timeout: 60_000 }, (token) => {
  const noise = token.repeat(Math.floor(3_800_000 / token.length));
  const fromMs = performance.now();
  parseSmiXml(`${noise}${xml}`);
  for (const tag of ["<attached_gpus>", "<mig_mode>", "</process_name>", "</nvidia_smi_log>"]) {
    parseSmiXml(xml.replace(tag, `${noise}${tag}`));
  }
  expect(performance.now() - fromMs).toBeLessThan(20_000);
});
