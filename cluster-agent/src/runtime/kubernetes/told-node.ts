import type { NodeObject } from "./kube-objects.ts";
import { LABELS } from "./object-names.ts";

/** A Kubernetes node with a label `nodeID`, or all of one value of it, as Kubernetes tells of it. */
export interface ToldNode {
  /** Value of the label. */
  readonly nodeId: string;
  /** Name of the Node; of the first by name where several have the label. */
  readonly name: string;
  /** It is Ready, and the only one of its id. */
  readonly isReady: boolean;
  /** Why no pod should go there, for people; absent when it may. */
  readonly refusal?: string;
  /** What pods may have of it. */
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
  /** Texts about it; empty where unknown. */
  readonly osRelease: string;
  readonly kernelRelease: string;
  readonly architecture: string;
}

const BYTES_PER_MIB = 2 ** 20;
const MAX_MESSAGE_CHARACTERS = 200;
/** What the suffix of a quantity multiplies with. */
const FACTORS: Readonly<Record<string, number>> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** What is kept of a Node; amounts that it does not tell are 0. */
export function toldNode({ metadata = {}, spec, status = {} }: NodeObject): ToldNode {
  const { allocatable = {}, nodeInfo = {} } = status;
  const { name = "", labels = {} } = metadata;
  const unready = unreadyReason(status.conditions ?? []);
  const refusal = unready ?? (spec?.unschedulable === true ? "cordoned in Kubernetes" : undefined);
  return {
    ...{ nodeId: labels[LABELS.node] ?? "", name, isReady: unready === undefined },
    ...(refusal === undefined ? {} : { refusal }),
    cpuMillis: Math.floor(quantity(allocatable.cpu) * 1_000),
    memoryMiB: Math.floor(quantity(allocatable.memory) / BYTES_PER_MIB),
    storageMiB: Math.floor(quantity(allocatable["ephemeral-storage"]) / BYTES_PER_MIB),
    osRelease: nodeInfo.osImage ?? "",
    kernelRelease: nodeInfo.kernelVersion ?? "",
    architecture: nodeInfo.architecture ?? "",
  };
}

/** One per id, by id. Of several with one id none is of use: nobody knows where a pod for it would go. */
export function toldNodes(kept: Iterable<ToldNode>): readonly ToldNode[] {
  const byId = Map.groupBy(kept, ({ nodeId }) => nodeId);
  return [...byId].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, same]) => oneOf(same));
}

/** A quantity of the API ("7910m", "1056Gi", "1e3") as a number; 0 where it is none. */
export function quantity(text = ""): number {
  const [, digits = "", suffix = ""] =
    /^([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)$/.exec(text) ?? [];
  const amount = Number(digits) * (FACTORS[suffix] ?? 0);
  return Number.isFinite(amount) ? amount : 0;
}

function oneOf(same: readonly ToldNode[]): ToldNode {
  const [first, ...others] = [...same].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (first === undefined) throw new Error("expected at least one node");
  if (others.length === 0) return first;
  const names = same.map(({ name }) => name).sort();
  const refusal = `${same.length} Kubernetes nodes have the label nodeID=${first.nodeId}: ${names.slice(0, 3).join(", ")}`;
  return { ...first, isReady: false, refusal };
}

function unreadyReason(
  conditions: NonNullable<NonNullable<NodeObject["status"]>["conditions"]>,
): string | undefined {
  const ready = conditions.find(({ type }) => type === "Ready");
  if (ready?.status === "True") return undefined;
  const why = [ready?.reason, ready?.message].filter(Boolean).join(": ");
  const told = why
    .slice(0, MAX_MESSAGE_CHARACTERS)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, " ");
  return `not Ready in Kubernetes${told === "" ? "" : ` (${told})`}`;
}
