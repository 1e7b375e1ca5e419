import { CliError, errorCodeOf, messageOf } from "../cli-error.ts";
import {
  at,
  type ClusterView,
  healthyNodes,
  readClusterDocument,
  textAt,
} from "../cluster-view.ts";
import { portUrl, type UpSettings } from "./environment.ts";
import { type LinkRefusal, readRefusal } from "./link-refusal.ts";

const REQUEST_LIMIT_MS = 2_000;

/** What one look at the control-plane showed. */
export type Sighting =
  | { readonly kind: "silent"; readonly why: string }
  | {
      readonly kind: "answered";
      readonly status: number;
      /** Has only the nodes that report. */
      readonly cluster?: ClusterView;
      /** Why the control-plane cannot run policies. */
      readonly sandboxFailure?: string;
    };

/** The policy sandbox, as the control-plane's `/readyz` shows it. */
export interface SandboxSighting {
  /** Whether policies can run. */
  readonly ready: boolean;
  /** Why they cannot; undefined when they can, or are about to. */
  readonly failure: string | undefined;
}

/** Looks at the control-plane: the cluster, its nodes, and the policy sandbox. */
export async function lookAtControlPlane(
  settings: UpSettings,
  signal: AbortSignal,
): Promise<Sighting> {
  const id = encodeURIComponent(settings.clusterId);
  const ask = { host: settings.host, port: settings.httpPort, signal };
  try {
    const answer = await get({ ...ask, path: `/clusters/${id}` });
    const seen = { kind: "answered", status: answer.status } as const;
    const cluster = answer.ok ? readClusterDocument(answer.body) : undefined;
    if (cluster === undefined) return seen;
    const metrics = await get({ ...ask, path: `/cluster/${id}` });
    const healthy = healthyNodes(metrics.ok ? metrics.body : undefined);
    // The document also lists nodes that are known from before and have not come back.
    const nodes = cluster.nodes.filter((node) => healthy.has(node.id));
    const sandboxFailure = readSandbox((await get({ ...ask, path: "/readyz" })).body)?.failure;
    return {
      ...seen,
      cluster: { ...cluster, nodes },
      ...(sandboxFailure === undefined ? {} : { sandboxFailure }),
    };
  } catch (thrown) {
    if (isBadPort(thrown)) throw refusedPort(settings.httpPort, "--http-port");
    return { kind: "silent", why: errorCodeOf(causeOf(thrown)) ?? messageOf(thrown) };
  }
}

/** Looks at the policy sandbox; undefined when nothing answers, or something that tells nothing of one. */
export async function lookAtSandbox(
  { host, httpPort: port }: UpSettings,
  signal: AbortSignal,
): Promise<SandboxSighting | undefined> {
  try {
    return readSandbox((await get({ host, port, path: "/readyz", signal })).body);
  } catch {
    // It may be restarting: that is told elsewhere.
    return undefined;
  }
}

/** Looks whether the control-plane refuses the cluster-agent; also undefined when the agent does not answer. */
export async function lookAtLink(
  { host, clusterPort: port }: UpSettings,
  signal: AbortSignal,
): Promise<LinkRefusal | undefined> {
  try {
    return readRefusal((await get({ host, port, path: "/readyz", signal })).body);
  } catch (thrown) {
    if (isBadPort(thrown)) throw refusedPort(port, "--cluster-port");
    return undefined;
  }
}

function readSandbox(readyz: unknown): SandboxSighting | undefined {
  const sandbox = at(at(readyz, "data"), "sandbox");
  const snapshot = textAt(sandbox, "snapshot");
  if (snapshot === undefined) return undefined;
  return { ready: snapshot === "ready", failure: textAt(sandbox, "failure") };
}

interface Question {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly signal: AbortSignal;
}

/** One answer; its body is undefined when it is no JSON. Rejects when none comes within 2 s. */
async function get(question: Question): Promise<{ status: number; ok: boolean; body: unknown }> {
  const { host, port, path, signal } = question;
  const response = await fetch(`${portUrl(host, port)}${path}`, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_LIMIT_MS)]),
  });
  return {
    status: response.status,
    ok: response.ok,
    body: parsed(await response.text()),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function causeOf(thrown: unknown): unknown {
  return thrown instanceof Error ? thrown.cause : undefined;
}

function isBadPort(thrown: unknown): boolean {
  return messageOf(causeOf(thrown)) === "bad port";
}

function refusedPort(port: number, flag: string): CliError {
  return new CliError(`port ${port} is one that browsers refuse: choose another with ${flag}`);
}
