import type { RequestedResources } from "../blocks/entry-reading.ts";
import { checkClaim } from "../ledger/check-claim.ts";
import type { Claim, DeviceClaim, GpuCapacity } from "../ledger/claim.ts";
import { deviceRefusal } from "../ledger/device-check.ts";
import { type NodeUse, type NodeUseOptions, nodeUse } from "../ledger/node-use.ts";
import { bestLinked, type GpuLinks } from "./gpu-links.ts";

/** A node that may be chosen. */
export interface CandidateNode extends NodeUseOptions {
  /** How its GPUs hang together; empty where unknown. */
  readonly links: GpuLinks;
}

/** Where an instance goes, or why nowhere. */
export type Placement =
  | { readonly kind: "placed"; readonly claim: Claim }
  | { readonly kind: "unschedulable"; readonly reasons: readonly string[] };

interface Fit {
  readonly claim: Claim;
  /** GPUs that the node could still give whole. */
  readonly gpusLeft: number;
  readonly memoryLeftMiB: number;
  /** How strongly the chosen GPUs are linked. */
  readonly strength: number;
}

/** Reasons of nodes that are told, of as many nodes as there may be. */
const MAX_REASONS = 20;

/**
 * The built-in allocator: the node on which the least is left over (GPUs first, then memory), so that large blocks find
 * whole nodes later; of equals the one whose chosen GPUs are linked best, then the first by id. On a node the GPUs that
 * are linked best; for a share of a GPU the smallest part of MIG, or the GPU with the least memory left, that fits.
 * `excluded`: UUIDs of devices that were just lost to somebody else. Pure.
 */
export function bestFit(
  nodes: readonly CandidateNode[],
  need: RequestedResources,
  excluded: ReadonlySet<string> = new Set(),
): Placement {
  const reasons: string[] = [];
  const fits: Fit[] = [];
  for (const node of nodes) {
    const fit = fitOn(node, need, excluded);
    if (typeof fit === "string") reasons.push(fit);
    else fits.push(fit);
  }
  const [best] = fits.sort(byLeftOver);
  if (best !== undefined) return { kind: "placed", claim: best.claim };
  if (nodes.length === 0) return { kind: "unschedulable", reasons: ["the cluster has no node"] };
  const more = reasons.length - MAX_REASONS;
  const told = reasons.slice(0, MAX_REASONS);
  return {
    kind: "unschedulable",
    reasons: more > 0 ? [...told, `and ${more} nodes more`] : told,
  };
}

function byLeftOver(a: Fit, b: Fit): number {
  return (
    a.gpusLeft - b.gpusLeft ||
    a.memoryLeftMiB - b.memoryLeftMiB ||
    b.strength - a.strength ||
    (a.claim.nodeId < b.claim.nodeId ? -1 : 1)
  );
}

function fitOn(
  node: CandidateNode,
  need: RequestedResources,
  excluded: ReadonlySet<string>,
): Fit | string {
  const { capacity } = node;
  const { nodeId } = capacity;
  const amounts = {
    cpuMillis: need.cpuMillis,
    memoryMiB: need.memoryMiB,
    storageMiB: need.storageMiB,
  };
  const plain = checkClaim({ nodeId, devices: [], ...amounts }, node);
  if (plain.kind === "refused") return plain.message;
  const use = nodeUse(node);
  const whole = capacity.gpus.filter((gpu) => isUsable(use, { uuid: gpu.uuid }, excluded));
  const chosen =
    need.gpuMemoryMiB === undefined
      ? wholeGpus(whole, need.gpus, node.links)
      : shares(use, { count: need.gpus, memoryMiB: need.gpuMemoryMiB, excluded });
  if (chosen === undefined) return tooFew(nodeId, need, whole.length);
  const taken = new Set(chosen.devices.map(({ uuid }) => uuid));
  return {
    claim: { nodeId, devices: chosen.devices, ...amounts },
    gpusLeft: whole.filter(({ uuid }) => !taken.has(uuid)).length,
    memoryLeftMiB: capacity.memoryMiB - use.taken.memoryMiB - need.memoryMiB,
    strength: chosen.strength,
  };
}

interface Chosen {
  readonly devices: readonly DeviceClaim[];
  readonly strength: number;
}

function wholeGpus(
  free: readonly GpuCapacity[],
  count: number,
  links: GpuLinks,
): Chosen | undefined {
  const bySlot = new Map(free.map((gpu) => [gpu.slot, gpu]));
  const best = bestLinked(
    [...bySlot.keys()].sort((a, b) => a - b),
    count,
    links,
  );
  if (best === undefined) return undefined;
  const devices = best.slots.flatMap((slot) => bySlot.get(slot) ?? []);
  return { devices: devices.map(({ uuid }) => ({ uuid })), strength: best.strength };
}

/** Shares of different devices: what a claim names twice would be one share. */
function shares(
  use: NodeUse,
  asked: {
    readonly count: number;
    readonly memoryMiB: number;
    readonly excluded: ReadonlySet<string>;
  },
): Chosen | undefined {
  const { count, memoryMiB, excluded } = asked;
  const fitting: { readonly claim: DeviceClaim; readonly leftMiB: number }[] = [];
  for (const gpu of use.capacity.gpus) {
    for (const part of gpu.migDevices) {
      if (part.memoryMiB < memoryMiB || !isUsable(use, { uuid: part.uuid }, excluded)) continue;
      fitting.push({ claim: { uuid: part.uuid }, leftMiB: part.memoryMiB - memoryMiB });
    }
    const claim = { uuid: gpu.uuid, memoryMiB };
    if (!isUsable(use, claim, excluded)) continue;
    const held = use.uses.get(gpu.uuid) ?? [];
    const takenMiB = held.reduce((sum, one) => sum + (one.memoryMiB ?? 0), 0);
    fitting.push({ claim, leftMiB: gpu.memoryMiB - takenMiB - memoryMiB });
  }
  if (fitting.length < count) return undefined;
  const smallest = fitting.sort((a, b) => a.leftMiB - b.leftMiB).slice(0, count);
  return { devices: smallest.map(({ claim }) => claim), strength: 0 };
}

function isUsable(use: NodeUse, claim: DeviceClaim, excluded: ReadonlySet<string>): boolean {
  return !excluded.has(claim.uuid) && deviceRefusal(use, claim) === undefined;
}

function tooFew(nodeId: string, need: RequestedResources, free: number): string {
  const { gpus, gpuMemoryMiB } = need;
  const asked = `${gpus} ${gpus === 1 ? "was" : "were"} asked for`;
  if (gpuMemoryMiB === undefined) return `node ${nodeId} has ${free} free GPUs, ${asked}`;
  return `node ${nodeId} has too few GPUs with ${gpuMemoryMiB} MiB free, ${asked}`;
}
