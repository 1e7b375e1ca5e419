#!/usr/bin/env node
/**
 * Stands in for nvidia-smi: replays a folder of examples/nvidia-smi.
 * Answers `--query-gpu=<fields> --format=csv,noheader,nounits [-lms <ms>]`, `-q -x`, `topo -m`, `-L`.
 *
 * FAKE_SMI_PROFILE: a folder (h100 by default, a100-mig, t4, failing), h100-7 (h100 whose last GPU is
 * gone without a word), none. FAKE_SMI_SEED: a number; load, memory, power and temperature then drift.
 * FAKE_SMI_FAULT, comma-separated:
 *   hang, die        two rounds of -lms, then silence or code 1
 *   garble           -lms: lines cut, too long or of noise; once: a warning on standard error
 *   slow             1 s before the first line            busy   each round of -lms burns 20 ms
 *   warn             a warning line before the output     stubborn   SIGTERM is ignored
 *   unknown:<field>  [Unknown Error] for the field        lost:<index>   that GPU falls off the bus
 *   hang-<mode>, fail-<mode>, garble-<mode>   never ends, fails, prints noise; <mode> is list (the CSV
 *                    query once), xml, topo or uuids; noise has code 0
 * FAKE_SMI_CONTROL names a file "profile fault" that is read again every round and wins over both.
 * FAKE_SMI_PIDS names a file to which the process adds its pid, FAKE_SMI_CALLS one to which it adds its
 * mode (list, loop, xml, topo, uuids). FAKE_SMI_FIXTURES: folder of the recordings.
 */
import { appendFileSync, readFileSync } from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { csvLine, loadRecording, unknownField, withoutGpu } from "./fake-smi-replay.js";

const { env } = process;
const FOLDER =
  env.FAKE_SMI_FIXTURES === undefined
    ? new URL("../../../examples/nvidia-smi/", import.meta.url)
    : pathToFileURL(`${env.FAKE_SMI_FIXTURES}/`);
const WARNING = "WARNING: infoROM is corrupted at gpu 0000:01:00.0\n";
const NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n";
const NO_DEVICES = "No devices were found\n";
const BUSY_MS = 20;
const out = (text) => process.stdout.write(text);

function main() {
  const request = requestOf(process.argv.slice(2));
  if (env.FAKE_SMI_PIDS) appendFileSync(env.FAKE_SMI_PIDS, `${process.pid}\n`);
  if (request === undefined) {
    out("ERROR: Option is not recognized. Please run 'nvidia-smi -h'.\n");
    process.exit(2);
  }
  if (env.FAKE_SMI_CALLS) appendFileSync(env.FAKE_SMI_CALLS, `${request.mode}\n`);
  // The real one gets SIGPIPE when its reader is gone; Node ignores the signal and reports EPIPE.
  process.stdout.on("error", () => process.exit(141));
  const { faults } = control();
  if (faults.has("stubborn")) process.on("SIGTERM", () => undefined);
  const run = request.mode === "loop" ? loop : once;
  setTimeout(() => run(request), faults.has("slow") ? 1_000 : 0);
}

function requestOf(args) {
  if (args.includes("-L")) return { mode: "uuids" };
  if (args[0] === "topo" && args[1] === "-m") return { mode: "topo" };
  if (args.includes("-q") && args.includes("-x")) return { mode: "xml" };
  const query = args.find((argument) => argument.startsWith("--query-gpu="));
  if (query === undefined || !args.includes("--format=csv,noheader,nounits")) return undefined;
  const fields = query.slice("--query-gpu=".length).split(",");
  const loopAt = args.indexOf("-lms");
  if (loopAt < 0) return { mode: "list", fields };
  return { mode: "loop", fields, intervalMs: Number(args[loopAt + 1]) };
}

function once({ mode, fields }) {
  const { recording, faults } = control();
  if (faults.has(`hang-${mode}`)) {
    setInterval(() => undefined, 60_000);
    return;
  }
  if (faults.has(`fail-${mode}`)) return end(NO_DRIVER, 9);
  if (faults.has(`garble-${mode}`))
    return end("<\u0000\ufffd>\t, X\nMIG GPU 0: (UUID: <gpu><uuid>\n", 0);
  if (recording === undefined) return end(NO_DEVICES, 6);
  if (faults.has("garble")) process.stderr.write(WARNING);
  if (faults.has("warn")) out(WARNING);
  if (mode !== "list") return end(recording[mode], 0);
  const field = unknownField(recording, fields);
  if (field !== undefined) return end(notValid(field), 2);
  writeRound(fields, { recording, faults: argumentsOnly(faults), round: 0 });
}

function loop({ fields, intervalMs }) {
  const first = control();
  const field = first.recording && unknownField(first.recording, fields);
  if (field !== undefined) return end(notValid(field), 2);
  if (first.faults.has("warn")) out(WARNING);
  let round = 0;
  const tick = () => {
    const { recording, faults } = control();
    round += 1;
    if (round > 2 && faults.has("hang")) return;
    if (round > 2 && faults.has("die")) process.exit(1);
    const until = performance.now() + BUSY_MS;
    while (faults.has("busy") && performance.now() < until);
    if (recording === undefined) out(NO_DEVICES);
    else writeRound(fields, { recording, faults, round });
  };
  tick();
  setInterval(tick, intervalMs);
}

function writeRound(fields, { recording, faults, round }) {
  for (const line of recording.preface) out(`${line}\n`);
  const seed = env.FAKE_SMI_SEED === undefined ? undefined : Number(env.FAKE_SMI_SEED);
  const play = { round, seed, unknown: new Set(named(faults, "unknown")) };
  for (const [at, row] of recording.rows.entries()) {
    const line = csvLine(row, fields, play);
    const bad = faults.has("garble") && round % 2 === 0 && at === round % recording.rows.length;
    out(bad ? garbled(line, round) : `${line}\n`);
  }
}

function garbled(line, round) {
  const forms = [
    `${line.slice(0, Math.floor(line.length / 2))}\n`,
    WARNING,
    `${"x".repeat(10_000)}\n`,
    "\u0000\ufffd,,,,,,,,,,,\n",
    "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error\n",
  ];
  return forms[(round / 2) % forms.length];
}

function end(text, code) {
  out(text);
  process.exitCode = code;
}

const notValid = (field) => `Field "${field}" is not a valid field to query.\n\n`;
const argumentsOnly = (faults) => new Set([...faults].filter((fault) => fault.includes(":")));
const named = (faults, name) =>
  [...faults]
    .filter((fault) => fault.startsWith(`${name}:`))
    .map((fault) => fault.slice(name.length + 1));

function control() {
  const text = env.FAKE_SMI_CONTROL ? readFileSync(env.FAKE_SMI_CONTROL, "utf8") : "";
  const [profile = "", fault = ""] = text.trim().split(/\s+/);
  const faults = new Set((fault || env.FAKE_SMI_FAULT || "").split(","));
  return { faults, recording: recordingOf(profile || env.FAKE_SMI_PROFILE || "h100", faults) };
}

const loaded = new Map();

function recordingOf(profile, faults) {
  if (profile === "none") return undefined;
  const lost = named(faults, "lost");
  const key = `${profile} ${lost}`;
  if (!loaded.has(key)) {
    const silent = profile === "h100-7";
    const whole = loadRecording(new URL(`${silent ? "h100" : profile}/`, FOLDER));
    const gone = silent ? ["7"] : lost;
    const cut = gone.reduce((rest, index) => withoutGpu(rest, index, silent), whole);
    loaded.set(key, cut);
  }
  return loaded.get(key);
}

main();
