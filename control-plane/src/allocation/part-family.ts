import type { ResidentPart } from "@berth/policy-sandbox";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { CLUSTER_GPU_PATH, freeGpusOf, type SlotsByNode } from "./overlay.ts";
import { slotOf } from "./slot-of.ts";

/** Overlays of one text that are remembered, the least recently made forgotten first. */
const MAX_OVERLAYS = 64;
const NOTHING_LEASED: SlotsByNode = new Map();

/** Which part of a cluster's view: its document, or its metrics. */
export type PartName = "data" | "metrics";

/** One edit: the path to a member, and its new value. */
type Edit = readonly [path: readonly (string | number)[], value: unknown];

interface GpuHolder {
  readonly id: string;
  readonly free_gpus?: number;
  readonly gpus: readonly { readonly id?: unknown; readonly state?: string }[];
  /** Path to the node, and from there to its GPUs. */
  readonly path: readonly (string | number)[];
  readonly gpusPath: readonly (string | number)[];
}

/**
 * One text of a cluster, and the versions of it in which some GPUs count as leased. Between two of them a
 * worker needs only the states that differ.
 */
export class PartFamily {
  /** The text as the cluster has it. */
  readonly base: ResidentPart;
  readonly #name: PartName;
  readonly #nextVersion: () => number;
  readonly #leased = new Map<string | number, SlotsByNode>();
  readonly #overlays = new Map<string, ResidentPart>();

  constructor(name: PartName, view: ClusterView, nextVersion: () => number) {
    this.#name = name;
    this.#nextVersion = nextVersion;
    const version = nextVersion();
    this.#leased.set(version, NOTHING_LEASED);
    this.base = {
      version,
      json: textOf(view, name),
      editsFrom: (held) => this.#editsFrom(held, NOTHING_LEASED, view),
    };
  }

  /** The text with some GPUs leased; `view` is the cluster with them. */
  overlaid(leased: SlotsByNode, view: ClusterView): ResidentPart {
    const key = keyOf(leased);
    const known = this.#overlays.get(key);
    if (known !== undefined) return known;
    const name = this.#name;
    const version = this.#nextVersion();
    const part: ResidentPart = {
      version,
      get json() {
        return textOf(view, name);
      },
      shapedLike: this.base,
      editsFrom: (held) => this.#editsFrom(held, leased, view),
    };
    this.#overlays.set(key, part);
    this.#leased.set(version, leased);
    this.#forgetOldest();
    return part;
  }

  #forgetOldest(): void {
    if (this.#overlays.size <= MAX_OVERLAYS) return;
    const [oldest] = this.#overlays;
    if (oldest === undefined) return;
    this.#overlays.delete(oldest[0]);
    this.#leased.delete(oldest[1].version);
  }

  #editsFrom(held: string | number, leased: SlotsByNode, view: ClusterView): string | undefined {
    const before = this.#leased.get(held);
    if (before === undefined) return undefined;
    const edits: Edit[] = [];
    for (const holder of gpuHolders(view, this.#name)) {
      const changed = difference(before.get(holder.id), leased.get(holder.id));
      if (changed.size > 0 && !addEdits(edits, holder, changed)) return undefined;
    }
    const freeGpus = view.metrics === null ? undefined : freeGpusOf(view.metrics.cluster);
    if (this.#name === "metrics" && edits.length > 0 && freeGpus !== undefined) {
      edits.push([[...CLUSTER_GPU_PATH, "free_gpus"], freeGpus]);
    }
    return JSON.stringify(edits);
  }
}

/** Adds the edits of one node; false when a value is not there to be set. */
function addEdits(edits: Edit[], holder: GpuHolder, changed: ReadonlySet<string>): boolean {
  for (const [index, gpu] of holder.gpus.entries()) {
    if (!changed.has(slotOf(gpu, index))) continue;
    if (gpu.state === undefined) return false;
    edits.push([[...holder.gpusPath, index, "state"], gpu.state]);
  }
  if (holder.free_gpus === undefined) return false;
  edits.push([[...holder.path, "free_gpus"], holder.free_gpus]);
  return true;
}

function gpuHolders(view: ClusterView, name: PartName): readonly GpuHolder[] {
  if (name === "metrics") {
    return (view.metrics?.nodes ?? []).map(({ id, free_gpus, gpus }, index) => {
      const path = ["nodes", index];
      return { id, free_gpus, gpus, path, gpusPath: [...path, "gpus"] };
    });
  }
  return view.document.nodes.nodeData.map(({ id, free_gpus, gpus }, index) => {
    const path = ["nodes", "nodeData", index];
    return { id, free_gpus, gpus: gpus?.gpus ?? [], path, gpusPath: [...path, "gpus", "gpus"] };
  });
}

function difference(
  one: ReadonlySet<string> | undefined,
  other: ReadonlySet<string> | undefined,
): ReadonlySet<string> {
  const none = new Set<string>();
  return (one ?? none).symmetricDifference(other ?? none);
}

function keyOf(leased: SlotsByNode): string {
  const nodes = [...leased].map(([id, slots]) => [id, [...slots].sort()] as const);
  return JSON.stringify(nodes.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function textOf(view: ClusterView, name: PartName): string {
  return name === "data" ? view.documentJson : (view.metricsJson ?? "null");
}
