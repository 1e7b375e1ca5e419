import { setTimeout as delay } from "node:timers/promises";
import { CliError, errorCodeOf, messageOf } from "../cli-error.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import { type LinkRefusal, RefusalClock, readRefusal } from "../up/link-refusal.ts";

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
  /** Its name, which its cluster ids begin with. */
  readonly name: string;
  /** The first of its clusters that is not linked and has a port; absent when there is none. */
  readonly unlinked?: { readonly id: string; readonly url: string };
}

/** What {@link waitUntilSimReady} looks at and tells. */
export interface SimWatch {
  /** The simulator's REST surface. */
  readonly url: string;
  /** Name of the fleet: another simulator may answer there. */
  readonly name: string;
  readonly signal: AbortSignal;
  /** Programs that are not up. */
  notUp(): readonly string[];
  onWaiting(forWhat: string): void;
  /** The control-plane refuses a cluster: lines for people, once per refusal. */
  onRefused(lines: readonly string[]): void;
}

/**
 * Waits until every cluster of the fleet is linked; undefined when the signal is aborted first. Throws a CliError
 * when the control-plane has refused a cluster for 30 s for a reason that waiting cannot mend.
 */
export async function waitUntilSimReady(watch: SimWatch): Promise<SimFleet | undefined> {
  const refusals = new RefusalClock();
  while (!watch.signal.aborted) {
    const seen = await look(watch);
    const waiting = watch.notUp();
    const isLinked = typeof seen !== "string" && seen.clustersLinked === seen.clusters;
    if (isLinked && waiting.length === 0) return seen;
    if (typeof seen !== "string" && waiting.length === 0) {
      await followRefusals(watch, seen, refusals);
    }
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
    return `the fleet (${nodesRegistered} of ${nodes} nodes run, ${clustersLinked} of ${clusters} clusters are linked)`;
  }
  return notUp.length > 0 ? `${notUp.join(", ")} to start` : `the simulator to answer (${seen})`;
}

/** Reads the answer of `GET /sim`; undefined when it is none. */
export function readSimFleet(body: unknown): SimFleet | undefined {
  const data = at(body, "data");
  const number = (key: string) => Number(at(data, key));
  const name = textAt(data, "name");
  const counts = {
    clusters: number("clusters"),
    clustersLinked: number("clusters_linked"),
    nodes: number("nodes"),
    nodesRegistered: number("nodes_registered"),
    gpus: number("gpus"),
    gpuIntervalMs: number("gpu_interval_ms"),
  };
  if (name === undefined || !Object.values(counts).every(Number.isFinite)) return undefined;
  const unlinked = listAt(data, "cluster_list").flatMap((cluster) => {
    const [id, url] = [textAt(cluster, "id"), textAt(cluster, "http_url")];
    const isOpen = at(cluster, "linked") !== true && id !== undefined && url !== undefined;
    return isOpen ? [{ id, url }] : [];
  })[0];
  return { ...counts, name, ...(unlinked && { unlinked }) };
}

/** Tells a new refusal of a cluster; throws when refusals have lasted too long. */
async function followRefusals(
  watch: SimWatch,
  { unlinked }: SimFleet,
  refusals: RefusalClock,
): Promise<void> {
  if (unlinked === undefined) return;
  const refusal = await lookAtCluster(unlinked.url, watch.signal);
  const { isNew, isOver } = refusals.see(refusal, performance.now());
  if (refusal === undefined) return;
  const line = refusalText(refusal, unlinked.id);
  if (isNew) watch.onRefused([line]);
  if (isOver && !watch.signal.aborted) {
    throw new CliError(`${line} (waiting longer does not change that)`);
  }
}

/** What a person is told of a refused cluster. */
export function refusalText({ reason, message }: LinkRefusal, id: string): string {
  return `the control-plane refuses cluster ${id} (${reason}): ${message}`;
}

async function lookAtCluster(url: string, signal: AbortSignal): Promise<LinkRefusal | undefined> {
  try {
    const limit = AbortSignal.timeout(REQUEST_LIMIT_MS);
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.any([signal, limit]) });
    return readRefusal(JSON.parse(await response.text()));
  } catch {
    // A cluster that does not answer may still be starting.
    return undefined;
  }
}

async function look({ url, name, signal }: SimWatch): Promise<SimFleet | string> {
  try {
    const response = await fetch(`${url}/sim`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_LIMIT_MS)]),
    });
    const text = await response.text();
    const fleet = response.ok ? readSimFleet(JSON.parse(text)) : undefined;
    if (fleet === undefined) return `HTTP ${response.status} on ${url}`;
    return fleet.name === name ? fleet : `on ${url} it is the one of the fleet ${fleet.name}`;
  } catch (thrown) {
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    return errorCodeOf(cause) ?? messageOf(thrown);
  }
}
