import { setTimeout as delay } from "node:timers/promises";
import { errorCodeOf, messageOf } from "../cli-error.ts";
import { at } from "../cluster-view.ts";

const POLL_MS = 250;
const REQUEST_LIMIT_MS = 5_000;

/** A simulated fleet as its simulator shows it. */
export interface SimFleet {
  readonly clusters: number;
  readonly clustersLinked: number;
  readonly nodes: number;
  readonly nodesRegistered: number;
  readonly gpus: number;
  readonly gpuIntervalMs: number;
}

/** What {@link waitUntilSimReady} looks at and tells. */
export interface SimWatch {
  /** The simulator's REST surface. */
  readonly url: string;
  readonly signal: AbortSignal;
  /** Programs that are not up. */
  notUp(): readonly string[];
  onWaiting(forWhat: string): void;
}

/** Waits until every cluster of the fleet is linked; undefined when the signal is aborted first. */
export async function waitUntilSimReady(watch: SimWatch): Promise<SimFleet | undefined> {
  while (!watch.signal.aborted) {
    const seen = await look(watch);
    const waiting = watch.notUp();
    const isLinked = typeof seen !== "string" && seen.clustersLinked === seen.clusters;
    if (isLinked && waiting.length === 0) return seen;
    watch.onWaiting(waitingFor(seen, waiting));
    await delay(POLL_MS, undefined, { signal: watch.signal }).catch((thrown: unknown) => {
      if (!watch.signal.aborted) throw thrown;
    });
  }
  return undefined;
}

/** What is missing, for people. */
export function waitingFor(seen: SimFleet | string, notUp: readonly string[]): string {
  if (typeof seen !== "string") {
    const { nodesRegistered, nodes, clustersLinked, clusters } = seen;
    return `${clusters} clusters (${nodesRegistered} of ${nodes} nodes run, ${clustersLinked} clusters are linked)`;
  }
  return notUp.length > 0 ? `${notUp.join(", ")} to start` : `the simulator to answer (${seen})`;
}

/** Reads the answer of `GET /sim`; undefined when it is none. */
export function readSimFleet(body: unknown): SimFleet | undefined {
  const number = (key: string) => Number(at(at(body, "data"), key));
  const fleet = {
    clusters: number("clusters"),
    clustersLinked: number("clusters_linked"),
    nodes: number("nodes"),
    nodesRegistered: number("nodes_registered"),
    gpus: number("gpus"),
    gpuIntervalMs: number("gpu_interval_ms"),
  };
  return Object.values(fleet).every(Number.isFinite) ? fleet : undefined;
}

async function look({ url, signal }: SimWatch): Promise<SimFleet | string> {
  try {
    const response = await fetch(`${url}/sim`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_LIMIT_MS)]),
    });
    const text = await response.text();
    const fleet = response.ok ? readSimFleet(JSON.parse(text)) : undefined;
    return fleet ?? `HTTP ${response.status} on ${url}`;
  } catch (thrown) {
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    return errorCodeOf(cause) ?? messageOf(thrown);
  }
}
