import type { GpuState } from "@berth/proto";
import { isJsonObject, isRawNumber, toNumber, typeName } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { slotOf } from "./slot-of.ts";

/** One GPU that a placement names. */
export interface PlacedGpu {
  readonly clusterId: string;
  readonly nodeId: string;
  /** Slot: a decimal string. */
  readonly slot: string;
}

/** A GPU that a policy chose although it is not free. */
export interface TakenGpu extends PlacedGpu {
  readonly state: GpuState;
}

/** A policy's answer held against the fleet. */
export type PlacementCheck =
  | {
      readonly kind: "placed";
      readonly data: unknown;
      readonly gpus: readonly PlacedGpu[];
      /** Those of the GPUs that others have. */
      readonly taken: readonly TakenGpu[];
    }
  | { readonly kind: "unschedulable"; readonly data: unknown }
  | { readonly kind: "invalid"; readonly message: string };

/** What a policy's answer is held against. */
export interface PlacementContext {
  /** Clusters that the policy could choose from. */
  readonly candidates: ReadonlyMap<string, ClusterView>;
  /** Number of placements asked for, when the inputs held a list. */
  readonly requestCount: number | undefined;
}

type ItemCheck =
  | {
      readonly kind: "placed";
      readonly data: object;
      readonly gpus: readonly PlacedGpu[];
      readonly taken: readonly TakenGpu[];
    }
  | { readonly kind: "unschedulable"; readonly data: object }
  | { readonly kind: "invalid"; readonly message: string };

/**
 * Holds the result of an allocator policy against what exists: cluster, node and GPUs must be there
 * and alive. A result is one placement or a list of them, one per request. null, `{}` and
 * `cluster_id: null` mean that nothing fits: unschedulable, with the policy's own `reasons` if it gave
 * any, as does `[]` where one placement was asked for. GPU ids become slot strings; ints and UUIDs are accepted. Extra keys are kept. A GPU that is leased or
 * allocated may be chosen (a policy may know better), and is told as taken.
 */
export function checkPlacement(result: unknown, context: PlacementContext): PlacementCheck {
  if (!Array.isArray(result)) {
    return checkItem(result, "result", context.candidates);
  }
  const { requestCount } = context;
  // An empty list answers an empty list of requests; to one request it says that nothing fits.
  if (requestCount === undefined && result.length === 0) {
    return checkItem(null, "result", context.candidates);
  }
  if (requestCount !== undefined && result.length !== requestCount) {
    const message = `result: expected ${requestCount} placements, one per request, got ${result.length}`;
    return { kind: "invalid", message };
  }
  return checkList(result, context.candidates);
}

function checkList(
  result: readonly unknown[],
  candidates: PlacementContext["candidates"],
): PlacementCheck {
  const data: object[] = [];
  const gpus: PlacedGpu[] = [];
  const taken: TakenGpu[] = [];
  const given = new Set<string>();
  for (const [index, value] of result.entries()) {
    const item = checkItem(value, `result[${index}]`, candidates);
    if (item.kind === "invalid") return item;
    data.push(item.data);
    if (item.kind === "unschedulable") continue;
    for (const gpu of item.gpus) {
      const name = `${gpu.clusterId}/${gpu.nodeId}/${gpu.slot}`;
      if (given.has(name)) return invalid(`result[${index}].gpus`, `${name} is given twice`);
      given.add(name);
      gpus.push(gpu);
    }
    for (const gpu of item.taken) taken.push(gpu);
  }
  const none = data.length === 0 || data.every((item) => "unschedulable" in item);
  return none ? { kind: "unschedulable", data } : { kind: "placed", data, gpus, taken };
}

function checkItem(
  value: unknown,
  path: string,
  candidates: PlacementContext["candidates"],
): ItemCheck {
  if (value === null) return unschedulable({}, candidates);
  if (!isJsonObject(value)) {
    return invalid(path, `expected an object, a list or null, got ${nameOf(value)}`);
  }
  const clusterId = value.cluster_id;
  if (clusterId === undefined || clusterId === null) {
    if (clusterId === undefined && Object.keys(value).some((key) => !key.startsWith("reason"))) {
      return invalid(`${path}.cluster_id`, "it is missing; use null when nothing fits");
    }
    return unschedulable(value, candidates);
  }
  if (typeof clusterId !== "string") {
    return invalid(`${path}.cluster_id`, `expected a string, got ${nameOf(clusterId)}`);
  }
  const cluster = candidates.get(clusterId);
  if (cluster === undefined) {
    return invalid(`${path}.cluster_id`, `${clusterId} is not one of the candidate clusters`);
  }
  if (cluster.health === "unreachable") {
    return invalid(`${path}.cluster_id`, `${clusterId} is unreachable`);
  }
  return checkNode(value, path, cluster);
}

function checkNode(value: Record<string, unknown>, path: string, cluster: ClusterView): ItemCheck {
  const { node_id: nodeId, gpus } = value;
  if (nodeId === undefined || nodeId === null) {
    if (gpus === undefined || gpus === null || (Array.isArray(gpus) && gpus.length === 0)) {
      return { kind: "placed", data: value, gpus: [], taken: [] };
    }
    return invalid(`${path}.node_id`, "gpus need the node that they are on");
  }
  if (typeof nodeId !== "string") {
    return invalid(`${path}.node_id`, `expected a string, got ${nameOf(nodeId)}`);
  }
  const entry = cluster.document.nodes.nodeData.find((node) => node.id === nodeId);
  if (entry === undefined) {
    return invalid(`${path}.node_id`, `cluster ${cluster.id} has no node ${nodeId}`);
  }
  if (cluster.health === "live" && cluster.nodes.get(nodeId)?.status !== "healthy") {
    return invalid(`${path}.node_id`, `node ${nodeId} of cluster ${cluster.id} is not healthy`);
  }
  if (gpus === undefined || gpus === null)
    return { kind: "placed", data: value, gpus: [], taken: [] };
  if (!Array.isArray(gpus)) {
    return invalid(`${path}.gpus`, `expected an array, got ${nameOf(gpus)}`);
  }
  const slots = slotsOf(entry.gpus?.gpus ?? []);
  return checkGpus({ value, path, gpus, slots, clusterId: cluster.id, nodeId });
}

interface Slot {
  readonly id: string;
  readonly state: GpuState | undefined;
}

function checkGpus(check: {
  readonly value: Record<string, unknown>;
  readonly path: string;
  readonly gpus: readonly unknown[];
  readonly slots: ReadonlyMap<string, Slot>;
  readonly clusterId: string;
  readonly nodeId: string;
}): ItemCheck {
  const { value, path, gpus, slots, clusterId, nodeId } = check;
  const where = `${clusterId}/${nodeId}`;
  const ids = new Set<string>();
  const taken: TakenGpu[] = [];
  for (const [index, gpu] of gpus.entries()) {
    const field = `${path}.gpus[${index}]`;
    const id = typeof gpu === "string" ? gpu : String(toNumber(gpu) ?? "");
    if (id === "") return invalid(field, `expected a GPU id, got ${nameOf(gpu)}`);
    const slot = slots.get(id);
    if (slot === undefined) return invalid(field, `node ${where} has no GPU ${id}`);
    if (slot.state === "unhealthy" || slot.state === "cordoned") {
      return invalid(field, `GPU ${id} of node ${where} is ${slot.state}`);
    }
    if (ids.has(slot.id)) return invalid(field, `GPU ${id} of node ${where} is given twice`);
    ids.add(slot.id);
    const { state } = slot;
    if (isTaken(state)) taken.push({ clusterId, nodeId, slot: slot.id, state });
  }
  const placed = [...ids].map((slot) => ({ clusterId, nodeId, slot }));
  return { kind: "placed", data: { ...value, gpus: [...ids] }, gpus: placed, taken };
}

function isTaken(state: GpuState | undefined): state is GpuState {
  return state === "leased" || state === "allocated";
}

/** GPUs of a node by slot and by UUID; a UUID that is another GPU's slot names that one. */
function slotsOf(
  gpus: readonly { readonly id?: unknown; readonly uuid?: unknown; readonly state?: GpuState }[],
): ReadonlyMap<string, Slot> {
  const slots = new Map<string, Slot>();
  const known = gpus.map((gpu, index) => ({ id: slotOf(gpu, index), state: gpu.state }));
  for (const slot of known) slots.set(slot.id, slot);
  for (const [index, slot] of known.entries()) {
    const uuid = gpus[index]?.uuid;
    if (typeof uuid === "string" && uuid !== "" && !slots.has(uuid)) slots.set(uuid, slot);
  }
  return slots;
}

function unschedulable(
  value: Record<string, unknown>,
  candidates: PlacementContext["candidates"],
): ItemCheck {
  const given = [value.reasons ?? value.reason ?? []].flat().map(reasonText);
  const counted =
    candidates.size === 0
      ? "there is no candidate cluster"
      : `the policy chose none of ${candidates.size} candidate cluster${candidates.size === 1 ? "" : "s"}`;
  const reasons = given.length > 0 ? given : [counted];
  return {
    kind: "unschedulable",
    data: { ...value, cluster_id: null, unschedulable: true, reasons },
  };
}

/** A policy may give reasons of any shape. */
function reasonText(reason: unknown): string {
  return typeof reason === "string" ? reason : JSON.stringify(reason);
}

function invalid(path: string, why: string): { kind: "invalid"; message: string } {
  return { kind: "invalid", message: `${path}: ${why}` };
}

function nameOf(value: unknown): string {
  return isRawNumber(value) ? "number" : typeName(value);
}
