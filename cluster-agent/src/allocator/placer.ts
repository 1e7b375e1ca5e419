import { BerthError } from "@berth/service-kit";
import type { BlockRecord } from "../blocks/block-records.ts";
import { requestedResources } from "../blocks/entry-reading.ts";
import { checkClaim } from "../ledger/check-claim.ts";
import type { Claim, Hold, NodeCapacity } from "../ledger/claim.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { topologyEntry } from "../telemetry/gpu-entries.ts";
import { bestFit, type CandidateNode, type Placement } from "./best-fit.ts";
import { claimedDevices } from "./device-ids.ts";
import { nodeCapacity } from "./node-capacity.ts";
import { type ClaimGroup, PendingClaims } from "./pending-claims.ts";

/** A placement that a client chose: the seed's `allocation_data`. */
export interface GivenPlacement {
  readonly nodeId: string;
  /** Slots or UUIDs, as the client wrote them. */
  readonly gpuIds: unknown;
  /** What the client calls it: "allocation_data.0". */
  readonly field: string;
  /** What it calls the GPUs in there; "gpu_ids" by default. */
  readonly gpusField?: "gpus" | "gpu_ids";
}

/** One instance that needs a place. */
export interface PlaceRequest {
  readonly block: BlockRecord;
  /** Claims that were chosen just before and are not in the ledger yet. */
  readonly besides: readonly Claim[];
  /** UUIDs of devices that were just lost to somebody else. */
  readonly excluded: ReadonlySet<string>;
  /** Nodes that it must not go to. */
  readonly avoidedNodes?: ReadonlySet<string>;
  /** Where the claim is noted at once, for others who choose meanwhile; absent = nothing will be taken. */
  readonly group?: ClaimGroup;
}

/** What {@link Placer} decides from. */
export interface PlacerDeps {
  readonly nodes: {
    /** One of the two is raised at each change of any node. */
    readonly version: number;
    readonly structureVersion: number;
    /** Whether time has changed a node, and neither of them is raised yet. */
    readonly isDue: boolean;
    views(): readonly NodeView[];
    view(id: string): NodeView | undefined;
  };
  readonly ledger: Pick<Ledger, "holds">;
}

/** What a node has to give, whoever holds what of it. */
type KnownNode = Omit<CandidateNode, "holds">;

/** Finds places for instances; takes nothing. */
export class Placer {
  /** What was chosen and is not in the ledger yet. */
  readonly pending = new PendingClaims();
  readonly #deps: PlacerDeps;
  /** As of the last look: many are placed between two changes of nodes. */
  #seen: { readonly version: string; readonly nodes: readonly KnownNode[] } | undefined;

  constructor(deps: PlacerDeps) {
    this.#deps = deps;
  }

  /** Where an instance of the block goes, or why nowhere. */
  place({ block, besides, excluded, avoidedNodes, group }: PlaceRequest): Placement {
    const nodes = this.#candidates([...besides, ...this.pending.others(group)]);
    const allowed = nodes.filter(({ capacity }) => avoidedNodes?.has(capacity.nodeId) !== true);
    const placement = bestFit(allowed, requestedResources(block.entry), excluded);
    if (placement.kind === "placed") group?.claims.push(placement.claim);
    return placement;
  }

  /** Where an instance of the block goes on one node, or why it does not. */
  placeOn(nodeId: string, block: BlockRecord): Placement {
    const nodes = this.#candidates([]).filter(({ capacity }) => capacity.nodeId === nodeId);
    return bestFit(nodes, requestedResources(block.entry), new Set());
  }

  /** How well the cluster can take an instance: 0 when it cannot, up to 1 for an empty one; and where it would go. */
  score(block: BlockRecord): { readonly score: number; readonly placement: Placement } {
    const placement = this.place({ block, besides: [], excluded: new Set() });
    if (placement.kind === "unschedulable") return { score: 0, placement };
    return {
      score: freeShare(this.#candidates([]), requestedResources(block.entry).gpus > 0),
      placement,
    };
  }

  /** The claim of a placement that a client chose; INVALID_ARGUMENT and NOT_FOUND name the field. */
  claimOf(block: BlockRecord, given: GivenPlacement): Claim {
    const { nodeId, gpuIds, field, gpusField = "gpu_ids" } = given;
    const capacity = this.capacity(nodeId);
    if (capacity === undefined) {
      throw new BerthError("NOT_FOUND", `${field}.node_id: no node ${JSON.stringify(nodeId)}`);
    }
    const {
      gpuMemoryMiB: memoryMiB,
      cpuMillis,
      memoryMiB: hostMiB,
      storageMiB,
    } = requestedResources(block.entry);
    const devices = claimedDevices(gpuIds, { capacity, memoryMiB, field: `${field}.${gpusField}` });
    return { nodeId, devices, cpuMillis, memoryMiB: hostMiB, storageMiB };
  }

  /** Why a claim cannot be met now, for people; undefined when it can. */
  obstacle(claim: Claim): string | undefined {
    const node = this.#candidates([]).find(({ capacity }) => capacity.nodeId === claim.nodeId);
    if (node === undefined) return `node ${claim.nodeId} is not known`;
    const checked = checkClaim(claim, node);
    return checked.kind === "ok" ? undefined : checked.message;
  }

  /** What a node has to give now; undefined for an unknown one. */
  capacity(nodeId: string): NodeCapacity | undefined {
    const view = this.#deps.nodes.view(nodeId);
    return view && nodeCapacity(view);
  }

  #candidates(besides: readonly Claim[]): readonly CandidateNode[] {
    const holds = new Map<string, Hold[]>();
    for (const hold of this.#deps.ledger.holds()) {
      holds.getOrInsert(hold.claim.nodeId, []).push(hold);
    }
    for (const claim of besides) holds.getOrInsert(claim.nodeId, []).push(pendingHold(claim));
    return this.#known().map((node) => ({
      ...node,
      holds: holds.get(node.capacity.nodeId) ?? [],
    }));
  }

  #known(): readonly KnownNode[] {
    const { nodes } = this.#deps;
    const version = `${nodes.version}/${nodes.structureVersion}`;
    if (nodes.isDue) return nodes.views().map(knownNode);
    if (this.#seen?.version !== version) {
      this.#seen = { version, nodes: nodes.views().map(knownNode) };
    }
    return this.#seen.nodes;
  }
}

function knownNode(view: NodeView): KnownNode {
  return {
    capacity: nodeCapacity(view),
    links: topologyEntry(view.inventory, view.slots)?.links ?? [],
  };
}

function pendingHold(claim: Claim): Hold {
  const purpose = { blockId: "", instanceId: "", operationId: "" };
  return { kind: "allocation", id: "", claim, purpose, state: "committed", takenAt: "" };
}

/** Share of the cluster's GPUs (without any asked for: of its CPU) that nobody holds; more than 0. */
function freeShare(nodes: readonly CandidateNode[], countsGpus: boolean): number {
  let total = 0;
  let taken = 0;
  for (const { capacity, holds } of nodes) {
    total += countsGpus ? capacity.gpus.length : capacity.cpuMillis;
    for (const { claim } of holds) taken += countsGpus ? claim.devices.length : claim.cpuMillis;
  }
  const share = total === 0 ? 1 : (total - taken) / total;
  return Math.min(1, Math.max(0.01, Number(share.toFixed(4))));
}
