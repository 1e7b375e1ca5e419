#!/usr/bin/env node
/**
 * Stands in for nvidia-smi in tests: `--query-gpu=<fields> --format=csv,noheader,nounits [-lms <ms>]`.
 * FAKE_SMI_PROFILE: h100 (default, 8 GPUs), h100-7 (the last one fell off), t4 (no power readings),
 * failing, none. FAKE_SMI_FAULT, comma-separated: hang (two rounds, then silence), die (two rounds, then
 * code 1), garble, slow (1 s before the first line), hang-list, fail-list. FAKE_SMI_CONTROL names a file
 * "profile fault" that is read again every round and wins over both. FAKE_SMI_PIDS names a file to which
 * the process adds its pid.
 */
import { appendFileSync, readFileSync } from "node:fs";
import process from "node:process";

const MISSING = "[N/A]";
const MIB_OF = { h100: 81_559, t4: 15_360, failing: 81_559 };
const DRIVER = "550.127.05";

function main() {
  const fields = optionOf("--query-gpu")?.split(",") ?? [];
  const loopAt = process.argv.indexOf("-lms");
  if (process.env.FAKE_SMI_PIDS) appendFileSync(process.env.FAKE_SMI_PIDS, `${process.pid}\n`);
  if (fields.length === 0 || optionOf("--format") !== "csv,noheader,nounits") {
    process.stdout.write("ERROR: Option is not recognized. Please run 'nvidia-smi -h'.\n");
    process.exit(2);
  }
  // The real one gets SIGPIPE when its reader is gone; Node ignores the signal and reports EPIPE.
  process.stdout.on("error", () => process.exit(141));
  if (loopAt < 0) list(fields);
  else loop(fields, Number(process.argv[loopAt + 1]));
}

function list(fields) {
  const { profile, faults } = control();
  if (faults.has("hang-list")) {
    setInterval(() => undefined, 60_000);
    return;
  }
  if (faults.has("fail-list")) {
    process.stdout.write(
      "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
    );
    process.exit(9);
  }
  if (faults.has("garble"))
    process.stderr.write("WARNING: infoROM is corrupted at gpu 0000:01:00.0\n");
  process.exitCode = writeRound(fields, { profile, faults: new Set(), round: 0 });
}

function loop(fields, intervalMs) {
  let round = 0;
  const tick = () => {
    const { profile, faults } = control();
    round += 1;
    if (round > 2 && faults.has("hang")) return;
    if (round > 2 && faults.has("die")) process.exit(1);
    writeRound(fields, { profile, faults, round });
  };
  const begin = () => {
    tick();
    setInterval(tick, intervalMs);
  };
  setTimeout(begin, control().faults.has("slow") ? 1_000 : 0);
}

function writeRound(fields, { profile, faults, round }) {
  const gpus = gpusOf(profile);
  if (gpus.length === 0) {
    process.stdout.write("No devices were found\n");
    return 6;
  }
  for (const gpu of gpus) {
    const line = fields.map((field) => cell(gpu, field, round)).join(", ");
    const bad = faults.has("garble") && round % 2 === 0 && gpu.index === round % gpus.length;
    process.stdout.write(bad ? garbled(line, round) : `${line}\n`);
  }
  return 0;
}

function gpusOf(profile) {
  const counts = { h100: 8, "h100-7": 7, t4: 1, failing: 2, none: 0 };
  const kind = profile.startsWith("h100") ? "h100" : profile;
  return Array.from({ length: counts[profile] ?? 0 }, (_, index) => ({ kind, index }));
}

function cell(gpu, field, round) {
  if (field === "uuid") return uuidOf(gpu);
  if (gpu.kind === "failing" && gpu.index === 1 && !STATIC.has(field)) return "[Unknown Error]";
  const value = CELLS[field];
  if (value === undefined) return MISSING;
  return String(value(gpu, round));
}

function uuidOf({ kind, index }) {
  const head = { h100: "4f0c2a1e", t4: "9b7d33c0", failing: "e1a5d0ff" }[kind];
  return `GPU-${head}-0b1${index}-4c2d-8e3f-00000000000${index}`;
}

const STATIC = new Set(["index", "name", "pci.bus_id", "driver_version"]);
const NAMES = { h100: "NVIDIA H100 80GB HBM3", t4: "Tesla T4", failing: "NVIDIA H100 80GB HBM3" };
const hasPower = (gpu) => gpu.kind !== "t4";
const usedMib = (gpu, round) => 1_024 + gpu.index * 512 + (round % 8);

const CELLS = {
  index: (gpu) => gpu.index,
  name: (gpu) => NAMES[gpu.kind],
  "pci.bus_id": (gpu) => `00000000:${(0x19 + gpu.index).toString(16).toUpperCase()}:00.0`,
  driver_version: () => DRIVER,
  "memory.total": (gpu) => MIB_OF[gpu.kind],
  "memory.used": usedMib,
  "memory.free": (gpu, round) => MIB_OF[gpu.kind] - usedMib(gpu, round) - 500,
  "mig.mode.current": (gpu) => (gpu.kind === "t4" ? MISSING : "Disabled"),
  "utilization.gpu": (gpu, round) => (gpu.index * 10 + round) % 101,
  "utilization.memory": (gpu, round) => (gpu.index * 5 + round) % 101,
  "temperature.gpu": (gpu) => 34 + gpu.index,
  "power.draw": (gpu, round) => (hasPower(gpu) ? (70.4 + (round % 5)).toFixed(2) : MISSING),
  "power.limit": (gpu) => (hasPower(gpu) ? "700.00" : MISSING),
  "clocks.sm": () => 1_980,
  "clocks.mem": () => 2_619,
  "ecc.errors.uncorrected.volatile.total": () => 0,
  pstate: () => "P0",
};

function garbled(line, round) {
  const forms = [
    `${line.slice(0, Math.floor(line.length / 2))}\n`,
    "WARNING: infoROM is corrupted at gpu 0000:01:00.0\n",
    `${"x".repeat(10_000)}\n`,
    "\u0000\ufffd,,,,,,,,,,,\n",
    "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error\n",
  ];
  return forms[(round / 2) % forms.length];
}

function control() {
  const { FAKE_SMI_CONTROL, FAKE_SMI_PROFILE, FAKE_SMI_FAULT } = process.env;
  const text = FAKE_SMI_CONTROL ? readFileSync(FAKE_SMI_CONTROL, "utf8") : "";
  const [profile = "", fault = ""] = text.trim().split(/\s+/);
  return {
    profile: profile || FAKE_SMI_PROFILE || "h100",
    faults: new Set((fault || FAKE_SMI_FAULT || "").split(",")),
  };
}

function optionOf(name) {
  const start = `${name}=`;
  return process.argv.find((argument) => argument.startsWith(start))?.slice(start.length);
}

main();
