import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import type {
  CommandProcessOptions,
  FaultPoint,
  FromProcess,
  ToProcess,
} from "../testing/command-process.ts";
import { until } from "../testing/fixtures.ts";

const PROGRAM = fileURLToPath(new URL("../testing/command-process.ts", import.meta.url));
const POINTS: readonly FaultPoint[] = ["begun", "acted", "finished", "given out"];
const SEED = 20_261_122;
const COMMANDS = 20;
/** Largest file that a process with a small disk may write, blocks of 512 bytes. */
const SMALL_DISK_BLOCKS = 800;

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const shared = new Cleanup();
afterAll(() => shared.run());
/** Compiled code of the program, which many processes start. */
let codeCache: string;
beforeAll(async () => {
  codeCache = await shared.directory();
});

let files: Pick<CommandProcessOptions, "database" | "effects">;
/** Results that were given out, by command. */
let answers: Map<string, string[]>;

beforeEach(async () => {
  const directory = await cleanup.directory();
  files = { database: path.join(directory, "a.db"), effects: path.join(directory, "effects") };
  await writeFile(files.effects, "");
  answers = new Map();
});

/** One life of the process that carries out commands. */
class Life {
  readonly heard: FromProcess[] = [];
  readonly ended: Promise<NodeJS.Signals | null>;
  readonly #child: ReturnType<typeof spawn>;

  constructor(fault?: CommandProcessOptions["fault"], limits = "") {
    const options = JSON.stringify(fault === undefined ? files : { ...files, fault });
    const script = `${limits} exec "$0" "$1" "$2"`;
    const child = spawn("/bin/sh", ["-c", script, process.execPath, PROGRAM, options], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_COMPILE_CACHE: codeCache },
    });
    this.#child = child;
    this.ended = once(child, "exit").then(([, signal]) => signal as NodeJS.Signals | null);
    // It may be dead before it reads.
    child.stdin?.on("error", () => undefined);
    createInterface({ input: child.stdout }).on("line", (line) => this.#hear(JSON.parse(line)));
    cleanup.add(async () => {
      child.kill("SIGKILL");
      await this.ended;
    });
  }

  tell(message: ToProcess): void {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async hears(kind: FromProcess["kind"], commandId?: string): Promise<void> {
    const isThere = () =>
      this.heard.some((one) => {
        const isOfIt =
          commandId === undefined || ("commandId" in one && one.commandId === commandId);
        return one.kind === kind && isOfIt;
      });
    await until(`${kind} ${commandId}`, isThere, 20_000);
  }

  /** Offers commands, as a control-plane does on each new stream, until they are answered once more. */
  async answers(commandIds: readonly string[]): Promise<void> {
    await this.hears("ready");
    for (const commandId of commandIds) this.tell({ kind: "offer", commandId });
    for (const commandId of commandIds) await this.hears("acknowledged", commandId);
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    expect(await this.ended).toBeNull();
  }

  #hear(message: FromProcess): void {
    if (message.kind === "completion") {
      const { commandId, result } = message;
      answers.set(commandId, [...(answers.get(commandId) ?? []), JSON.stringify(result)]);
      this.tell({ kind: "acknowledge", commandId });
    }
    this.heard.push(message);
  }
}

/** Has a command carried out by a process that dies at `point`, and by those after it. */
async function carryOut(commandId: string, point: FaultPoint): Promise<void> {
  const first = new Life({ commandId, point });
  first.tell({ kind: "offer", commandId });
  expect(await first.ended).toBe("SIGKILL");
  await first.hears("dies", commandId);
  const second = new Life();
  await second.answers(answers.has(commandId) ? [] : [commandId]);
  await second.hears("acknowledged", commandId);
  await second.stop();
}

const effects = async () => (await readFile(files.effects, "utf8")).split("\n").slice(0, -1);
const resultOf = (line: number) =>
  JSON.stringify({ kind: "result", json: JSON.stringify({ line }) });

describe("an agent that is killed while it carries out a command", () => {
  it.each(POINTS)("acts once and answers the same when it dies once it has %s", async (point) => {
    await carryOut("c1", point);
    expect(await effects()).toEqual(["c1"]);
    const given = answers.get("c1") ?? [];
    expect(new Set(given)).toEqual(new Set([resultOf(0)]));
    // An offer that comes when the answer is known gets it once more.
    expect(given.length).toBeGreaterThanOrEqual(point === "given out" ? 2 : 1);
  });

  it(`acts once for each of ${COMMANDS} commands, killed at seeded points`, {
    timeout: 180_000,
  }, async () => {
    const faults = seededFaults();
    expect(new Set(faults.map(({ point }) => point))).toEqual(new Set(POINTS));
    let life = new Life(faults[0]);
    for (const [n, { commandId }] of faults.entries()) {
      // A neighbour is under way when the process dies.
      const both = [commandId, neighbourOf(commandId)];
      for (const id of both) life.tell({ kind: "offer", commandId: id });
      expect(await life.ended).toBe("SIGKILL");
      await life.hears("dies", commandId);
      life = new Life(faults[n + 1]);
      await life.answers(both.filter((id) => !answers.has(id)));
    }
    const all = faults.flatMap(({ commandId }) => [commandId, neighbourOf(commandId)]);
    await life.answers(all);
    await life.stop();
    const lines = await effects();
    expect(lines.toSorted()).toEqual(all.toSorted());
    for (const [line, id] of lines.entries()) {
      expect(new Set(answers.get(id))).toEqual(new Set([resultOf(line)]));
    }
  });
});

describe("an agent whose disk is full", () => {
  it("refuses a command that it cannot record, and carries it out once there is room", async () => {
    const full = new Life(undefined, `ulimit -f ${SMALL_DISK_BLOCKS};`);
    await full.hears("ready");
    full.tell({ kind: "fill" });
    await full.hears("full");
    await full.answers(["c1"]);
    await full.stop();
    const [refusal] = answers.get("c1") ?? [];
    expect(JSON.parse(refusal ?? "{}")).toMatchObject({
      kind: "refusal",
      reason: "UNAVAILABLE",
      message: expect.stringMatching(/^the agent cannot record the command: .*nothing was done$/),
    });
    expect(await effects()).toEqual([]);
    answers.clear();
    const roomy = new Life();
    await roomy.hears("ready");
    expect(roomy.heard.map(({ kind }) => kind)).toEqual(["ready"]);
    await roomy.answers(["c1"]);
    await roomy.stop();
    expect(await effects()).toEqual(["c1"]);
    expect(answers.get("c1")).toEqual([resultOf(0)]);
  });
});

/** Each command with the point at which the process dies. */
function seededFaults(): NonNullable<CommandProcessOptions["fault"]>[] {
  const random = seededRandom(SEED);
  return Array.from({ length: COMMANDS }, (_none, n) => {
    const point = POINTS[Math.floor(random() * POINTS.length)] ?? "begun";
    return { commandId: `c${n}`, point };
  });
}

function neighbourOf(commandId: string): string {
  return `neighbour-of-${commandId}`;
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
