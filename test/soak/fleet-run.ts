import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { pick, seededRandom } from "../support/synthetic-cluster.ts";
import { ask } from "./agent-client.ts";
import { AgentLife, type Death } from "./agent-life.ts";
import type { RunReport } from "./agent-run.ts";
import { type Books, disagreements, readBooks } from "./books.ts";
import { processSoakRuntime, type SoakRuntime } from "./soak-runtime.ts";

const CLUSTERS = ["c-0", "c-1"];
const SHAPE = { nodes: 2, gpusPerNode: 2 };
const BLOCK_IDS = ["blk-a", "blk-b", "blk-c", "blk-d"];
const CLIENTS = 3;
const TURNS = 6;
const ROUNDS = 3;
const REST_LIMIT_MS = 90_000;
const POLL_MS = 100;
const ANSWER_MS = 15_000;

/**
 * A control-plane and two agents, all real processes: clients place, scale and remove the same four blocks through the
 * gateway while any of the three is killed. At the end each block is on one cluster at most, nothing is underway, and each
 * cluster's records, ledger and processes say the same.
 */
export async function fleetRun(seed: number): Promise<RunReport> {
  const run = new FleetRun(seed);
  try {
    return await run.go();
  } finally {
    await run.dispose();
  }
}

interface Cluster {
  readonly id: string;
  readonly env: Readonly<Record<string, string>>;
  readonly runtime: SoakRuntime;
  life: AgentLife;
  url: string;
}

class FleetRun {
  readonly #seed: number;
  readonly #random: () => number;
  readonly #home = mkdtempSync(path.join(tmpdir(), "berth-soak-"));
  readonly #clusters: Cluster[] = [];
  readonly #faults: string[] = [];
  readonly #problems: string[] = [];
  #controlPlane: ControlPlaneProcess | undefined;
  #answered = 0;
  #refused = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
  }

  async go(): Promise<RunReport> {
    const controlPlane = await startControlPlane();
    this.#controlPlane = controlPlane;
    for (const id of CLUSTERS) this.#clusters.push(await this.#cluster(id, controlPlane));
    for (let round = 1; round <= ROUNDS; round += 1) {
      const clients = Array.from({ length: CLIENTS }, (_, client) => this.#client(client, round));
      if (round < ROUNDS) await this.#harm();
      await Promise.all(clients);
    }
    await this.#finish();
    const { answered, refused } = { answered: this.#answered, refused: this.#refused };
    const told = { faults: this.#faults, problems: this.#problems };
    return { seed: this.#seed, lives: ROUNDS, answered, refused, ...told };
  }

  async dispose(): Promise<void> {
    for (const { life, runtime } of this.#clusters) {
      await life.end();
      await runtime.dispose();
    }
    await this.#controlPlane?.stop();
    rmSync(this.#home, { recursive: true, force: true });
  }

  async #cluster(id: string, { agentUrl, token }: ControlPlaneProcess): Promise<Cluster> {
    const dataDir = path.join(this.#home, id);
    const [httpPort = 0, nodePort = 0] = await freePorts(2);
    const env = {
      BERTH_CLUSTER_ID: id,
      BERTH_DATA_DIR: dataDir,
      BERTH_HTTP_PORT: String(httpPort),
      BERTH_NODE_PORT: String(nodePort),
      BERTH_CONTROL_PLANE_URL: agentUrl,
      BERTH_ENROLMENT_TOKEN: token,
      BERTH_LOCAL_TOKEN: `berth1.${"L".repeat(43)}`,
      BERTH_NODE_TTL_MS: "60000",
    };
    const life = new AgentLife(env, SHAPE);
    const url = (await life.ready()) ?? "";
    return { id, env, runtime: processSoakRuntime(dataDir), life, url };
  }

  /** Kills one of the programs while the clients work, and starts it again. */
  async #harm(): Promise<void> {
    const choice = this.#random();
    await new Promise((resolve) => setTimeout(resolve, 100 + this.#random() * 1_500));
    if (choice < 0.5) {
      this.#faults.push("the control-plane is killed");
      await this.#controlPlane?.restart();
      return;
    }
    const cluster = pick(this.#clusters, this.#random);
    if (cluster === undefined) return;
    this.#faults.push(`the agent of ${cluster.id} is killed`);
    await cluster.life.end();
    const death: Death = {
      kind: "write",
      atWrite: 5 + Math.floor(this.#random() * 60),
      when: "behind",
    };
    cluster.life = new AgentLife(cluster.env, SHAPE, death);
    if ((await cluster.life.ready()) !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, this.#random() * 1_500));
    }
    await cluster.life.end();
    cluster.life = new AgentLife(cluster.env, SHAPE);
    await cluster.life.ready();
  }

  async #client(client: number, round: number): Promise<void> {
    const random = seededRandom(this.#seed * 1_000 + round * 10 + client);
    for (let turn = 0; turn < TURNS; turn += 1) {
      const key = `${this.#seed}/${round}/${client}/${turn}`;
      const answer = await this.#request(pick(BLOCK_IDS, random) ?? "", key, random);
      if (answer === undefined) continue;
      this.#answered += 1;
      if (answer.status >= 400) this.#refused += 1;
      if (answer.status === 500) this.#problems.push(`${key}: ${JSON.stringify(answer.body)}`);
    }
  }

  async #request(blockId: string, key: string, random: () => number) {
    const { restUrl } = this.#controlPlane ?? { restUrl: "" };
    const manners = { idempotency_key: key, timeout_ms: ANSWER_MS };
    const choice = random();
    const count = 1 + Math.floor(random() * 2);
    if (choice < 0.5) {
      const { program } = this.#clusters[0]?.runtime ?? { program: {} };
      const gpus = Math.floor(random() * 2);
      const block_data = {
        ...{ id: blockId, component: { containerRegistryInfo: program } },
        ...{ resources: { cpuMillis: 10, gpus }, minInstances: count, maxInstances: 4 },
      };
      return ask(`${restUrl}/blocks`, "POST", { block_data, ...manners });
    }
    if (choice < 0.75) return ask(`${restUrl}/blocks/${blockId}`, "DELETE");
    const scale = { operation: "scale", instances_count: count };
    return ask(`${restUrl}/blocks/${blockId}/scale`, "POST", { ...scale, ...manners });
  }

  async #finish(): Promise<void> {
    const deadline = performance.now() + REST_LIMIT_MS;
    let problems: readonly string[] = [];
    do {
      problems = await this.#unrest();
      if (problems.length === 0) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    } while (performance.now() < deadline);
    this.#problems.push(...problems);
  }

  async #unrest(): Promise<readonly string[]> {
    const { restUrl } = this.#controlPlane ?? { restUrl: "" };
    const placements = await ask(`${restUrl}/placements?limit=1000`, "GET");
    if (placements?.status !== 200) return ["the control-plane does not answer"];
    const over = ["done", "failed", "abandoned"];
    const problems: string[] = placements.body.data
      .filter(({ phase }: { phase: string }) => !over.includes(phase))
      .map((one: object) => `a placement is underway: ${JSON.stringify(one)}`);
    const homes = new Map<string, string>();
    for (const { id, url, runtime } of this.#clusters) {
      const books = await readBooks(url, () => runtime.running());
      if (books === undefined) return [...problems, `the agent of ${id} does not answer`];
      problems.push(
        ...disagreements(books, { mayHaveOrphans: false }).map((one) => `${id}: ${one}`),
      );
      for (const blockId of blocksOf(books)) {
        const other = homes.get(blockId);
        if (other !== undefined) problems.push(`${blockId} is on ${other} and on ${id}`);
        homes.set(blockId, id);
      }
    }
    return [...problems, ...(await this.#viewProblems(homes))];
  }

  /** What the control-plane tells of the blocks must be what the clusters have. */
  async #viewProblems(homes: ReadonlyMap<string, string>): Promise<readonly string[]> {
    const { restUrl } = this.#controlPlane ?? { restUrl: "" };
    const answer = await ask(`${restUrl}/blocks?limit=1000`, "GET");
    const told: readonly { block_id: string; cluster_id: string }[] = answer?.body.data ?? [];
    const shown = told.map((one) => `${one.block_id} on ${one.cluster_id}`).sort();
    const real = [...homes].map(([blockId, id]) => `${blockId} on ${id}`).sort();
    return shown.join() === real.join() ? [] : [`told are [${shown}], there are [${real}]`];
  }
}

function blocksOf({ records }: Books): ReadonlySet<string> {
  return new Set(records.map(({ name }) => name.slice(0, name.indexOf("/"))));
}
