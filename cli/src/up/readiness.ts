import { setTimeout as delay } from "node:timers/promises";
import { CliError, errorCodeOf, messageOf } from "../cli-error.ts";
import { type ClusterView, healthyNodes, readClusterDocument } from "../cluster-view.ts";
import { portUrl, type UpSettings } from "./environment.ts";

const POLL_MS = 100;
const REQUEST_LIMIT_MS = 2_000;

/** What one look at the control-plane showed. */
export type Sighting =
  | { readonly kind: "silent"; readonly why: string }
  /** `cluster` has only the nodes that report. */
  | { readonly kind: "answered"; readonly status: number; readonly cluster?: ClusterView };

/** How the wait stands: ready with the cluster, or waiting for something that has a name. */
export type Readiness =
  | { readonly kind: "ready"; readonly cluster: ClusterView }
  | { readonly kind: "waiting"; readonly forWhat: string };

/** What {@link waitUntilReady} looks at and tells. */
export interface ReadinessWatch {
  readonly settings: UpSettings;
  readonly signal: AbortSignal;
  /** Programs that are not up. An answer counts only when there are none: it could be another fleet's. */
  notUp(): readonly string[];
  onWaiting(forWhat: string): void;
}

/** Waits until the cluster is live with a node that reports; undefined when the signal is aborted first. */
export async function waitUntilReady(watch: ReadinessWatch): Promise<ClusterView | undefined> {
  const starting = watch.notUp();
  if (starting.length > 0) watch.onWaiting(`${starting.join(", ")} to start`);
  while (!watch.signal.aborted) {
    const sighting = await look(watch.settings, watch.signal);
    const readiness = judge(sighting, watch.notUp(), watch.settings);
    if (readiness.kind === "ready") return readiness.cluster;
    if (watch.signal.aborted) return undefined;
    watch.onWaiting(readiness.forWhat);
    await delay(POLL_MS, undefined, { signal: watch.signal }).catch(rethrowUnless(watch.signal));
  }
  return undefined;
}

/** What is missing, from one look at the control-plane and the programs that are not up. */
export function judge(
  sighting: Sighting,
  notUp: readonly string[],
  settings: Pick<UpSettings, "host" | "httpPort" | "clusterId">,
): Readiness {
  const waiting = (forWhat: string): Readiness => ({ kind: "waiting", forWhat });
  if (notUp.length > 0) return waiting(`${notUp.join(", ")} to start`);
  if (sighting.kind === "silent") {
    const url = portUrl(settings.host, settings.httpPort);
    return waiting(`the control-plane to answer on ${url} (${sighting.why})`);
  }
  const { cluster, status } = sighting;
  if (status === 404) return waiting(`cluster ${settings.clusterId} to join`);
  if (cluster === undefined) return waiting(`the control-plane to be ready (HTTP ${status})`);
  if (cluster.status !== "live") {
    return waiting(`cluster ${cluster.id} to be live (it is ${cluster.status})`);
  }
  if (cluster.nodes.length === 0) return waiting(`a node to join cluster ${cluster.id}`);
  return { kind: "ready", cluster };
}

async function look(settings: UpSettings, signal: AbortSignal): Promise<Sighting> {
  const id = encodeURIComponent(settings.clusterId);
  try {
    const answer = await get(settings, `/clusters/${id}`, signal);
    const cluster = readClusterDocument(answer.body);
    if (cluster === undefined) return { kind: "answered", status: answer.status };
    const metrics = await get(settings, `/cluster/${id}`, signal);
    const healthy = healthyNodes(metrics.body);
    // The document also lists nodes that are known from before and have not come back.
    const nodes = cluster.nodes.filter((node) => healthy.has(node.id));
    return { kind: "answered", status: answer.status, cluster: { ...cluster, nodes } };
  } catch (thrown) {
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    if (messageOf(cause) === "bad port") {
      const port = settings.httpPort;
      throw new CliError(
        `port ${port} is one that browsers refuse: choose another with --http-port`,
      );
    }
    return { kind: "silent", why: errorCodeOf(cause) ?? messageOf(thrown) };
  }
}

async function get(
  settings: UpSettings,
  path: string,
  signal: AbortSignal,
): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${portUrl(settings.host, settings.httpPort)}${path}`, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_LIMIT_MS)]),
  });
  const text = await response.text();
  return { status: response.status, body: response.ok ? JSON.parse(text) : undefined };
}

function rethrowUnless(signal: AbortSignal): (thrown: unknown) => void {
  return (thrown) => {
    if (!signal.aborted) throw thrown;
  };
}
