import { setTimeout as delay } from "node:timers/promises";
import { CliError } from "../cli-error.ts";
import type { ClusterView } from "../cluster-view.ts";
import { portUrl, type UpSettings } from "./environment.ts";
import { RefusalClock, refusalLines } from "./link-refusal.ts";
import { lookAtControlPlane, lookAtLink, lookAtSandbox, type Sighting } from "./look.ts";

const POLL_MS = 100;
const SANDBOX_POLL_MS = 1_000;

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
  /** The control-plane refuses the cluster-agent: lines for people, once per refusal. */
  onRefused(lines: readonly string[]): void;
}

/**
 * Waits until the cluster is live with a node that reports, and nothing is known that keeps policies from
 * running; undefined when the signal is aborted first. Throws a CliError when the control-plane has refused
 * the cluster-agent for 30 s for a reason that waiting cannot mend.
 */
export async function waitUntilReady(watch: ReadinessWatch): Promise<ClusterView | undefined> {
  const { settings, signal } = watch;
  const refusals = new RefusalClock();
  const starting = watch.notUp();
  if (starting.length > 0) watch.onWaiting(`${starting.join(", ")} to start`);
  while (!signal.aborted) {
    const sighting = await lookAtControlPlane(settings, signal);
    const readiness = judge(sighting, watch.notUp(), settings);
    if (readiness.kind === "ready") return readiness.cluster;
    await followRefusals(watch, refusals);
    if (signal.aborted) return undefined;
    watch.onWaiting(readiness.forWhat);
    await pause(POLL_MS, signal);
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
  const { cluster, status, sandboxFailure } = sighting;
  if (status === 404) return waiting(`cluster ${settings.clusterId} to join`);
  if (cluster === undefined) return waiting(`the control-plane to be ready (HTTP ${status})`);
  if (cluster.status !== "live") {
    return waiting(`cluster ${cluster.id} to be live (it is ${cluster.status})`);
  }
  if (cluster.nodes.length === 0) return waiting(`a node to join cluster ${cluster.id}`);
  if (sandboxFailure !== undefined) return waiting(`the policy sandbox (${sandboxFailure})`);
  return { kind: "ready", cluster };
}

/** What {@link followSandbox} looks at and tells. */
export interface SandboxWatch {
  readonly settings: UpSettings;
  readonly signal: AbortSignal;
  /** Policies cannot run, or can again: a line for people, once per change. */
  onChange(line: string): void;
}

/**
 * Tells whatever keeps policies from running, until they can. The control-plane builds its sandbox's snapshot
 * beside its start, so that this may fail after everything else is ready.
 */
export async function followSandbox({ settings, signal, onChange }: SandboxWatch): Promise<void> {
  let told: string | undefined;
  while (!signal.aborted) {
    const sandbox = await lookAtSandbox(settings, signal);
    if (signal.aborted) return;
    if (sandbox?.ready) {
      if (told !== undefined) onChange("the policy sandbox is ready");
      return;
    }
    if (sandbox?.failure !== undefined && sandbox.failure !== told) {
      told = sandbox.failure;
      onChange(`the control-plane cannot run policies: its sandbox has no snapshot: ${told}`);
    }
    await pause(SANDBOX_POLL_MS, signal);
  }
}

/** Tells a new refusal of the cluster-agent; throws when refusals have lasted too long. */
async function followRefusals(watch: ReadinessWatch, refusals: RefusalClock): Promise<void> {
  const { settings, signal } = watch;
  // A port of a program that is not up could be another fleet's.
  const isUp = watch.notUp().length === 0;
  const refusal = isUp ? await lookAtLink(settings, signal) : undefined;
  const { isNew, isOver } = refusals.see(refusal, performance.now());
  if (refusal === undefined) return;
  const lines = refusalLines(refusal, settings);
  if (isNew) watch.onRefused(lines);
  if (isOver && !signal.aborted) {
    const why = lines.map((line) => line.trim()).join(" ");
    throw new CliError(`${why} (waiting longer does not change that)`);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal }).catch((thrown: unknown) => {
    if (!signal.aborted) throw thrown;
  });
}
