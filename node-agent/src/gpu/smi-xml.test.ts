import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyText } from "../testing/any-text.ts";
import { loadSmiFixture, SMI_FIXTURES } from "../testing/smi-fixture.ts";
import { parseSmiXml } from "./smi-xml.ts";

const xmlOf = async (name: (typeof SMI_FIXTURES)[number]) => (await loadSmiFixture(name)).xml;
const UUID = "GPU-5d1b7f2c-0000-0000-0000-000000000000";
const log = (inner: string) =>
  `<?xml version="1.0" ?><nvidia_smi_log><cuda_version>12.4</cuda_version><gpu id="1"><uuid>${UUID}</uuid>${inner}</gpu></nvidia_smi_log>`;
const gpuOf = (inner: string) => parseSmiXml(log(inner))?.gpus[0];

describe("the two generations of the document", () => {
  it("reads gpu_power_readings and clocks_event_reasons", async () => {
    const parsed = parseSmiXml(await xmlOf("h100"));
    expect(parsed).toMatchObject({ cudaVersion: "12.4" });
    expect(parsed?.gpus).toHaveLength(8);
    expect(parsed?.gpus[0]).toMatchObject({
      minorNumber: 0,
      migEnabled: false,
      powerW: 70.42,
      powerLimitW: 700,
      throttleReasons: ["gpu_idle"],
      migDevices: [],
    });
    expect(parsed?.gpus[5]).toMatchObject({ eccCorrectedTotal: 2n, rowRemapPending: false });
    expect(parsed?.gpus[3]?.processes).toEqual([
      { pid: 40_003, name: "/usr/bin/python3 -m trainer.worker --rank 3 &", memoryUsedMib: 1_536n },
    ]);
  });

  it("reads power_readings and clocks_throttle_reasons", async () => {
    const parsed = parseSmiXml(await xmlOf("a100-mig"));
    expect(parsed?.gpus[0]).toMatchObject({
      powerW: 52.18,
      powerLimitW: 400,
      throttleReasons: ["gpu_idle"],
    });
    expect(parsed?.gpus[1]?.migDevices[1]).toEqual({
      index: 1,
      gpuInstanceId: 5,
      computeInstanceId: 0,
      memoryMib: 9_984n,
      memoryUsedMib: 6_144n,
      memoryFreeMib: 3_840n,
    });
    expect(parsed?.gpus[1]?.processes[1]).toEqual({ pid: 51_003, name: "/usr/bin/python3" });
  });

  it("reads instant_power_draw behind warnings, and errors as absent values", async () => {
    const [, ecc, hot, mute] = parseSmiXml(await xmlOf("failing"))?.gpus ?? [];
    expect(ecc).toMatchObject({
      powerW: 73.42,
      eccCorrectedTotal: 118n,
      remappedRowsCorrectable: 6,
      remappedRowsUncorrectable: 2,
      rowRemapPending: true,
      rowRemapFailed: true,
    });
    expect(hot?.throttleReasons).toEqual([
      "sw_power_cap",
      "hw_slowdown",
      "hw_thermal_slowdown",
      "sw_thermal_slowdown",
    ]);
    expect(mute).toEqual({
      uuid: "GPU-9964f759-5d2c-b408-c25b-72667169f4cb",
      minorNumber: 4,
      migEnabled: false,
      throttleReasons: [],
      processes: [],
      migDevices: [],
    });
  });

  it("reads a T4, which has neither power nor MIG nor remapped rows", async () => {
    expect(parseSmiXml(await xmlOf("t4"))?.gpus).toEqual([
      {
        uuid: "GPU-cc23658c-32fd-8555-e888-5919e383b921",
        minorNumber: 0,
        eccCorrectedTotal: 0n,
        throttleReasons: ["gpu_idle"],
        processes: [{ pid: 1_874, name: "/usr/lib/xorg/Xorg", memoryUsedMib: 4n }],
        migDevices: [],
      },
    ]);
  });
});

it("reads corrected errors of GPUs before Turing", () => {
  const errors =
    "<single_bit><total>4</total></single_bit><double_bit><total>1</total></double_bit>";
  const gpu = gpuOf(`<ecc_errors><volatile>${errors}</volatile></ecc_errors>`);
  expect(gpu?.eccCorrectedTotal).toBe(4n);
});

it.each(["N/A", "[N/A]", "[Not Supported]", "[Unknown Error]", "ERR!", "", "-", "<x/>", "7 7 7"])(
  "leaves every value absent that reads %j",
  (word) => {
    const tags = ["minor_number", "remapped_rows", "processes", "mig_devices", "mig_mode"];
    const flat = tags.map((tag) => `<${tag}>${word}</${tag}>`).join("");
    const power = `<gpu_power_readings><power_draw>${word}</power_draw></gpu_power_readings>`;
    const rows = `<ecc_errors><volatile><dram_correctable>${word}</dram_correctable></volatile></ecc_errors>`;
    expect(gpuOf(flat + power + rows)).toEqual({
      uuid: UUID,
      throttleReasons: [],
      processes: [],
      migDevices: [],
    });
  },
);

it("holds few processes with short names, and leaves out those without a pid", () => {
  const one = (pid: string) =>
    `<process_info><pid>${pid}</pid><process_name>${"n".repeat(2_000)}</process_name></process_info>`;
  const many = Array.from({ length: 400 }, (_none, at) => one(String(at + 1))).join("");
  const processes = gpuOf(`<processes>${one("N/A")}${many}</processes>`)?.processes ?? [];
  expect(processes).toHaveLength(256);
  expect(processes[0]).toEqual({ pid: 1, name: "n".repeat(128) });
});

it("holds so many processes of all GPUs that they fit into one message", () => {
  const one = "<process_info><pid>1</pid><process_name>x</process_name></process_info>";
  const gpu = (at: number) =>
    `<gpu id="${at}"><uuid>GPU-${at + 10_000_000}</uuid><processes>${one.repeat(300)}</processes></gpu>`;
  const gpus = Array.from({ length: 16 }, (_none, at) => gpu(at)).join("");
  const parsed = parseSmiXml(`<nvidia_smi_log>${gpus}</nvidia_smi_log>`);
  expect(parsed?.gpus.map((each) => each.processes.length)).toEqual(Array(16).fill(64));
});

it("reads names of programs with any signs, and no value behind them", () => {
  const one = (name: string) =>
    `<process_info><pid>1</pid><process_name>${name}</process_name></process_info>\n`;
  const names = ["sh -c a && b", "x < y > z <tag", "&#65;", "</gpu>", "py &lt;1&gt;"];
  const gpu = gpuOf(
    `<processes>${names.map(one).join("")}</processes><minor_number>4</minor_number>`,
  );
  expect(gpu?.processes.map(({ name }) => name)).toEqual([
    "sh -c a && b",
    "x < y > z <tag",
    "A",
    "</gpu>",
    "py <1>",
  ]);
  expect(gpu?.minorNumber).toBeUndefined();
});

it("expands no entity of a document type", () => {
  const text = `<?xml version="1.0"?><!DOCTYPE nvidia_smi_log [<!ENTITY a "${"b".repeat(99)}"><!ENTITY c "&a;&a;">]>${log(
    "<processes><process_info><pid>1</pid><process_name>&c;&lt;</process_name></process_info></processes>",
  ).replace('<?xml version="1.0" ?>', "")}`;
  const [gpu] = parseSmiXml(text)?.gpus ?? [];
  expect(gpu?.processes[0]?.name).toBe("&c;<");
});

it.each([
  ["nothing", ""],
  ["an error", "NVIDIA-SMI has failed"],
  ["half a document", log("").slice(0, -10)],
  ["another document", "<?xml version='1.0'?><html></html>"],
  ["an end before the start", `</nvidia_smi_log>${log("").slice(0, -17)}`],
  ["more than the bound", log(`<x>${"y".repeat(4_194_304)}</x>`)],
  ["a thousand elements in each other", log("").replace("<cuda", `${"<a>".repeat(1_000)}<cuda`)],
])("reads no log from %s", (_what, text) => {
  expect(parseSmiXml(text)).toBeUndefined();
});

it("leaves out a GPU with a thousand elements in each other", () => {
  expect(parseSmiXml(log("<a>".repeat(1_000)))?.gpus).toEqual([]);
});

it("takes a GPU without a proper UUID for none", () => {
  expect(parseSmiXml(log("").replace(UUID, "[Unknown Error]"))?.gpus).toEqual([]);
});

it("never throws on noise, nor on recordings with characters changed or cut out", async () => {
  const recorded = await Promise.all(SMI_FIXTURES.map(xmlOf));
  const shortest = recorded.toSorted((a, b) => a.length - b.length).slice(0, 1);
  const check = (text: string) => {
    for (const gpu of parseSmiXml(text)?.gpus ?? []) expect(gpu.uuid).toMatch(/^GPU-/);
  };
  const noise = fc.string({
    unit: fc.constantFrom("<", ">", "/", "gpu", "&", "]", "!", "-", '"', "=", " "),
  });
  fc.assert(fc.property(anyText(500), check));
  fc.assert(fc.property(noise, (text) => check(log(text))));
  fc.assert(
    fc.property(
      fc.constantFrom(...shortest),
      fc.nat(),
      fc.nat(200),
      noise,
      (text, where, length, put) => {
        const at = where % text.length;
        check(text.slice(0, at) + put + text.slice(at + length));
      },
    ),
  );
});
