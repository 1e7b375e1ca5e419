import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { seededRandom } from "../support/synthetic-cluster.ts";
import { ask } from "./agent-client.ts";
import { AgentLife, type Death } from "./agent-life.ts";
import { type Books, disagreements, impossibilities, readBooks } from "./books.ts";
import { BLOCK_IDS, kindOf, nextRequest, type SoakRequest, send } from "./requests.ts";
import { processSoakRuntime, SOAK_NODES, type SoakRuntime } from "./soak-runtime.ts";
import { copyStore, loseLedger, restoreStore } from "./store-faults.ts";

/** What one run did, and what was wrong; nothing when it held. */
export interface RunReport {
  readonly seed: number;
  readonly lives: number;
  readonly answered: number;
  readonly refused: number;
  /** What was asked for and done, by kind: "scale", "create_block with a lease". */
  readonly done?: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
  readonly problems: readonly string[];
}

/** Opens what runs the instances of an agent with that data directory. */
export type OpenSoakRuntime = (dataDir: string) => SoakRuntime | Promise<SoakRuntime>;

const SHAPE = { nodes: SOAK_NODES, gpusPerNode: 4 };
const CLIENTS = 3;
const REQUESTS_PER_LIFE = 5;
/** Longest time in which nothing changes before there is rest, and longest time in all. */
const STILL_LIMIT_MS = 60_000;
const REST_LIMIT_MS = 600_000;
const MAX_PAUSE_MS = 1_500;
const POLL_MS = 50;
const TOKEN = `berth1.${"L".repeat(43)}`;

/**
 * One life after the other of one agent: three clients ask for the same four blocks and the same GPUs
 * while it dies at seeded writes and moments; between lives its store is put back to an older copy, or its ledger is
 * lost. At the end records, ledger and what runs must say the same, and everything can be removed.
 */
export async function agentRun(
  seed: number,
  openRuntime: OpenSoakRuntime = processSoakRuntime,
): Promise<RunReport> {
  const run = new AgentRun(seed);
  try {
    return await run.go(openRuntime);
  } finally {
    await run.dispose();
  }
}

class AgentRun {
  readonly #seed: number;
  readonly #random: () => number;
  readonly #home = mkdtempSync(path.join(tmpdir(), "berth-soak-"));
  readonly #dataDir = path.join(this.#home, "agent");
  #runtime: SoakRuntime | undefined;
  readonly #faults: string[] = [];
  readonly #problems: string[] = [];
  /** Requests that nobody answered yet, by client. */
  readonly #unanswered = new Map<number, SoakRequest>();
  readonly #done: Record<string, number> = {};
  #mayHaveOrphans = false;
  #answered = 0;
  #refused = 0;
  #life: AgentLife | undefined;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
  }

  async go(openRuntime: OpenSoakRuntime): Promise<RunReport> {
    const runtime = await openRuntime(this.#dataDir);
    this.#runtime = runtime;
    const lives = 2 + Math.floor(this.#random() * 3);
    for (let life = 1; life <= lives; life += 1) {
      await this.#live(life, runtime, life === lives ? undefined : this.#death());
      await runtime.buried?.();
      if (this.#problems.length > 0) break;
      if (life < lives) this.#harmStore(life);
    }
    const { faults, problems, answered, refused } = {
      ...{ faults: this.#faults, problems: this.#problems },
      ...{ answered: this.#answered, refused: this.#refused },
    };
    return { seed: this.#seed, lives, answered, refused, done: this.#done, faults, problems };
  }

  async dispose(): Promise<void> {
    await this.#life?.end();
    await this.#runtime?.dispose();
    rmSync(this.#home, { recursive: true, force: true });
  }

  #death(): Death {
    if (this.#random() < 0.3) return { kind: "time", afterMs: 30 + this.#random() * 700 };
    const atWrite = 1 + Math.floor(this.#random() * 90);
    return { kind: "write", atWrite, when: this.#random() < 0.5 ? "before" : "behind" };
  }

  async #live(life: number, runtime: SoakRuntime, death: Death | undefined): Promise<void> {
    const [httpPort = 0, nodePort = 0] = await freePorts(2);
    const env = {
      BERTH_DATA_DIR: this.#dataDir,
      BERTH_HTTP_PORT: String(httpPort),
      BERTH_NODE_PORT: String(nodePort),
      BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9",
      BERTH_LOCAL_TOKEN: TOKEN,
      BERTH_NODE_TTL_MS: "60000",
      ...runtime.env,
    };
    const agent = new AgentLife(env, SHAPE, death);
    this.#life = agent;
    this.#faults.push(death === undefined ? "lives" : JSON.stringify(death));
    const url = await agent.ready();
    if (url === undefined) {
      if (death === undefined) this.#problems.push(`the agent ended: ${agent.errors()}`);
      return;
    }
    const harmed = this.#harm(runtime, life);
    await Promise.all(
      Array.from({ length: CLIENTS }, (_, client) => this.#client({ client, life, url, runtime })),
    );
    await harmed;
    if (death === undefined) await this.#finish(url, runtime);
    await agent.end();
  }

  /** One client: what was not answered in the last life first, with the same key. */
  async #client({ client, life, url, runtime }: ClientTurn): Promise<void> {
    const { program } = runtime;
    const random = seededRandom(this.#seed * 1_000 + life * 10 + client);
    for (let turn = 0; turn < REQUESTS_PER_LIFE; turn += 1) {
      const key = `${this.#seed}/${life}/${client}/${turn}`;
      const request =
        this.#unanswered.get(client) ?? (await nextRequest(url, { key, program }, random));
      if (request === undefined) continue;
      this.#unanswered.set(client, request);
      const answer = await send(url, request);
      if (answer === undefined) return;
      this.#unanswered.delete(client);
      this.#answered += 1;
      const kind = kindOf(request);
      if (answer.status >= 400) this.#refused += 1;
      else this.#done[kind] = (this.#done[kind] ?? 0) + 1;
      // A move whose new instance is not ready in its time is 504, and nothing has moved.
      if (answer.status >= 500 && ![503, 504].includes(answer.status)) {
        this.#problems.push(`${JSON.stringify(request)}: ${JSON.stringify(answer)}`);
      }
      const books = await readBooks(url, () => runtime.running());
      if (books !== undefined) this.#problems.push(...impossibilities(books));
    }
  }

  async #harm(runtime: SoakRuntime, life: number): Promise<void> {
    if (runtime.harm === undefined) return;
    const random = seededRandom(this.#seed * 1_000 + life * 10 + CLIENTS);
    const times = Math.floor(random() * 3);
    for (let time = 0; time < times; time += 1) {
      await new Promise((resolve) => setTimeout(resolve, random() * MAX_PAUSE_MS));
      this.#faults.push(await runtime.harm(random));
    }
  }

  #harmStore(life: number): void {
    const copy = path.join(this.#home, "copy");
    const choice = this.#random();
    if (choice < 0.12 && restoreStore(this.#dataDir, copy)) {
      this.#mayHaveOrphans = true;
      this.#faults.push("an older copy of the store");
    } else if (choice < 0.25) {
      loseLedger(this.#dataDir);
      this.#faults.push("the ledger is lost");
    } else if (choice < 0.5 && life === 1) copyStore(this.#dataDir, copy);
  }

  async #finish(url: string, runtime: SoakRuntime): Promise<void> {
    const mayHaveOrphans = this.#mayHaveOrphans;
    const books = () => readBooks(url, () => runtime.running());
    const atRest = (now: Books) => disagreements(now, { mayHaveOrphans });
    const { stillLimitMs = STILL_LIMIT_MS } = runtime;
    if (!(await this.#rest(books, { check: atRest, what: "at rest", stillLimitMs }))) {
      this.#problems.push(...((await runtime.look?.()) ?? []));
      return;
    }
    for (const blockId of BLOCK_IDS) {
      await ask(`${url}/executeAction`, "POST", { action: "remove_block", block_id: blockId });
    }
    const isEmpty = ({ allocations, running, records }: Books) => {
      const left = [...allocations, ...records].map(({ name }) => name);
      return [...left, ...running].map((name) => `${name} is left of what was removed`);
    };
    await this.#rest(books, { check: isEmpty, what: "empty", stillLimitMs });
  }

  /** Waits until a check holds, for as long as anything changes. */
  async #rest(
    books: () => Promise<Books | undefined>,
    { check, what, stillLimitMs }: RestCheck,
  ): Promise<boolean> {
    const deadline = performance.now() + REST_LIMIT_MS;
    let stillUntil = performance.now() + stillLimitMs;
    let problems: readonly string[] = ["the agent did not answer"];
    while (performance.now() < Math.min(deadline, stillUntil)) {
      const now = await books();
      const found = now === undefined ? problems : check(now);
      if (found.length === 0) return true;
      if (found.join() !== problems.join()) stillUntil = performance.now() + stillLimitMs;
      problems = found;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    this.#problems.push(...problems.map((one) => `${what}: ${one}`));
    return false;
  }
}

/** What is to hold at rest, and how long nothing may change before that. */
interface RestCheck {
  readonly check: (books: Books) => readonly string[];
  readonly what: string;
  readonly stillLimitMs: number;
}

/** What one client does in one life. */
interface ClientTurn {
  readonly client: number;
  readonly life: number;
  readonly url: string;
  readonly runtime: SoakRuntime;
}
