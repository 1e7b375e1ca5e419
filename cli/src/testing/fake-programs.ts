import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Start of every fake program: leaves its pid in its data directory, stops as real programs do. */
const COMMON = `
import { writeFileSync } from "node:fs";
import process from "node:process";
writeFileSync(process.env.BERTH_DATA_DIR + "/pid", String(process.pid));
writeFileSync(process.env.BERTH_DATA_DIR + "/env.json", JSON.stringify(process.env));
const started = () => console.log(JSON.stringify({ level: "info", msg: "started" }));
const stop = () => process.exit(0);
`;
const STOPS = `
process.on("SIGTERM", stop);
process.stdin.on("end", stop).resume();
`;

/** Source of a program that starts, and stops when it is asked to. */
export const OBEDIENT = `${COMMON}${STOPS}started();setInterval(() => {}, 1000);`;

/** Source of a program that starts and ignores every request to stop. */
export const STUBBORN = `${COMMON}
process.on("SIGTERM", () => {});
started();setInterval(() => {}, 1000);`;

/** Source of a program that fails at once with a message. */
export const FAILING = `${COMMON}
console.error("fake: port 8000 is taken");
process.exit(1);`;

/** Source of a program that starts the first time, and fails at once with a message from then on. */
export const FAILING_LATER = `
import { existsSync } from "node:fs";
const failing = existsSync(process.env.BERTH_DATA_DIR + "/pid");
${COMMON}
if (failing) {
  console.error("fake: port 8000 is taken");
  process.exit(1);
}
${STOPS}started();setInterval(() => {}, 1000);`;

/** Source of a program with a worker of its own that would outlive it; its pid is in "worker-pid". */
export const WITH_WORKER = `${COMMON}
import { spawn } from "node:child_process";
const worker = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
writeFileSync(process.env.BERTH_DATA_DIR + "/worker-pid", String(worker.pid));
${STOPS}started();`;

const NODE = {
  ...{ id: "n1", vcpus: { count: 4 }, memory: 8192 },
  ...{ gpus: { count: 0, gpus: [] }, nodeMetadata: { cpuModel: "Fake CPU" } },
};

/** What a control-plane answers whose cluster "local" is live with one node without GPUs. */
export const LIVE_CLUSTER: Answers = {
  "/clusters/local": { id: "local", status: "live", nodes: { count: 1, nodeData: [NODE] } },
  "/cluster/local": { success: true, data: { nodes: [{ id: "n1", status: "healthy" }] } },
};

/** JSON of the paths that a fake program answers; 404 for every other one. */
export type Answers = Readonly<Record<string, unknown>>;

/** Source of a program that serves answers on its HTTP port; `answers.json` in its data directory overrides them. */
export function serving(program: string, answers: Answers): string {
  return `${COMMON}
import { createServer } from "node:http";
import { existsSync, readFileSync } from "node:fs";
const file = process.env.BERTH_DATA_DIR + "/answers.json";
const server = createServer((request, response) => {
  const newer = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  const answer = { ...${JSON.stringify(answers)}, ...newer }[request.url];
  response.writeHead(answer ? 200 : 404).end(JSON.stringify(answer ?? {}));
});
server.on("error", (error) => {
  console.error("${program}: " + error.message + "; set BERTH_HTTP_PORT to another port");
  process.exit(1);
});
${STOPS}server.listen(Number(process.env.BERTH_HTTP_PORT), "127.0.0.1", started);`;
}

/** Source of a control-plane whose cluster "local" is live with one node without GPUs. */
export const CONTROL_PLANE = serving("control-plane", LIVE_CLUSTER);

/** A directory of a test, with programs in it. */
export class FakePrograms {
  /** Absolute path; `data` in it is free for a data directory. */
  readonly dir: string = mkdtempSync(join(tmpdir(), "berth-cli-"));

  /** Writes a program and gives its path. */
  write(name: string, source: string): string {
    const path = join(this.dir, `${name}.mjs`);
    writeFileSync(path, source);
    return path;
  }

  /** Changes what a program with {@link serving} answers, from its data directory below `data`. */
  answer(program: string, answers: Answers): void {
    const file = join(this.dir, "data", program, "answers.json");
    // Renamed, so that the program never reads half of it.
    writeFileSync(`${file}.new`, JSON.stringify(answers));
    renameSync(`${file}.new`, file);
  }

  /** Number in a file of the directory, once a program has written it. */
  async number(...path: string[]): Promise<number> {
    return waitFor(`a number in ${path.join("/")}`, () => {
      const value = Number(readIfThere(join(this.dir, ...path)));
      return value > 0 ? value : undefined;
    });
  }

  /** Removes the directory. */
  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Text of a file; empty while there is none. */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return "";
    throw thrown;
  }
}

/** Polls until `look` gives something other than undefined or false; throws after 20 s. */
export async function waitFor<T>(
  what: string,
  look: () => T | undefined | false,
  limitMs = 20_000,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  while (performance.now() < deadline) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await delay(20);
  }
  throw new Error(`timed out waiting for ${what}`);
}

/** Whether a process runs: it exists and is no zombie that waits for its parent. */
export function isAlive(pid: number): boolean {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat !== "" && !/^\d+ \(.*\) Z /s.test(stat);
}
