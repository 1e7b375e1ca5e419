import { setTimeout as delay } from "node:timers/promises";
import { BerthError } from "@berth/service-kit";
import type { AgentAnswer, AgentApi, AgentCall, FleetBlocks } from "../fleet/agent-api.ts";
import type { FleetSnapshot } from "../fleet/cluster-view.ts";
import { fleetOf } from "./fleet-views.ts";
import { ModelCluster } from "./model-cluster.ts";

/** What a test does to requests on their way: throw, wait, or never end. */
export type Interference = (clusterId: string, request: AgentCall) => Promise<void> | void;

/** Clusters in memory behind the contracts that gateways use, with links that can be interfered with. */
export class ModelFleet implements AgentApi {
  readonly clusters = new Map<string, ModelCluster>();
  /** Called before a request reaches its cluster. */
  before: Interference = () => {};
  /** Called when the cluster has carried a request out and its answer is on its way. */
  behind: Interference = () => {};
  /** Requests that reached a cluster: "c1 POST /leases". */
  readonly log: string[] = [];
  readonly blocks: FleetBlocks;
  readonly #listeners = new Set<(clusterId: string) => void>();

  constructor(
    clusters: Readonly<Record<string, { readonly nodes: number; readonly gpus: number }>>,
  ) {
    for (const [id, size] of Object.entries(clusters)) {
      this.clusters.set(id, new ModelCluster(id, size, () => this.#tell(id)));
    }
    const heard = () => [...this.clusters.values()].filter(({ isHeard }) => isHeard);
    const all = () => heard().map((cluster) => cluster.told());
    this.blocks = {
      of: (id) => all().find(({ clusterId }) => clusterId === id),
      all,
      withBlock: (blockId) => all().filter(({ blocks }) => blocks.has(blockId)),
      onChange: (listener) => {
        const own = (id: string) => listener(id);
        this.#listeners.add(own);
        return () => this.#listeners.delete(own);
      },
    };
  }

  /** A cluster of it. */
  get(id: string): ModelCluster {
    const cluster = this.clusters.get(id);
    if (cluster === undefined) throw new Error(`there is no cluster ${id}`);
    return cluster;
  }

  /** Cuts a cluster off, or lets it be heard again. */
  setLive(id: string, isLive: boolean): void {
    const cluster = this.get(id);
    cluster.isLive = isLive;
    cluster.touch();
  }

  /** Whether a cluster has told anything since the control-plane was started. */
  setHeard(id: string, isHeard: boolean): void {
    const cluster = this.get(id);
    cluster.isHeard = isHeard;
    cluster.touch();
  }

  /** Clusters that have a block, by how often they made it. */
  placesOf(blockId: string): readonly string[] {
    return [...this.clusters.values()].flatMap(({ id, made }) =>
      made.filter((one) => one === blockId).map(() => id),
    );
  }

  /** As the inventory has it. */
  async snapshot(): Promise<FleetSnapshot> {
    return fleetOf(...[...this.clusters.values()].map((cluster) => cluster.view()));
  }

  async call(
    clusterId: string,
    request: AgentCall,
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<AgentAnswer> {
    const cluster = this.clusters.get(clusterId);
    if (cluster === undefined)
      throw new BerthError("NOT_FOUND", `cluster ${clusterId} has no agent`);
    const ends = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]);
    await untilEnded(this.before(clusterId, request), ends);
    if (!cluster.isLive) {
      await delay(Math.min(timeoutMs, 20), undefined, { signal }).catch(() => undefined);
      throw new BerthError("DEADLINE_EXCEEDED", `cluster ${clusterId} did not answer in time`);
    }
    await delay(1);
    this.log.push(`${clusterId} ${request.method} ${request.path}`);
    const answer = cluster.answer(request);
    await untilEnded(this.behind(clusterId, request), ends);
    return answer;
  }

  #tell(id: string): void {
    setImmediate(() => {
      for (const listener of [...this.#listeners]) listener(id);
    });
  }
}

/** What is on its way for too long, or that nobody waits for any more, ends as links end it. */
async function untilEnded(work: Promise<void> | void, ends: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = () => reject(new BerthError("DEADLINE_EXCEEDED", "no answer in time"));
  if (ends.aborted) end();
  ends.addEventListener("abort", end, { once: true });
  try {
    await Promise.race([work, promise]);
  } finally {
    ends.removeEventListener("abort", end);
    promise.catch(() => undefined);
  }
}
