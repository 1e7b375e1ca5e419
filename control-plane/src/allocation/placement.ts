import type { GpuState } from "@berth/proto";
import { isJsonObject, toNumber } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { type NodeEntry, PlacedNodes } from "./placed-nodes.ts";
import { UnschedulableTexts } from "./unschedulable.ts";
import { valueName } from "./value-name.ts";

/** Most placements of one result. */
const MAX_PLACEMENTS = 10_000;
/** Characters of a name that a policy made up. */
const MAX_NAME = 253;

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

/** What the placements of one result have in common. */
interface Common {
  readonly candidates: PlacementContext["candidates"];
  readonly nodes: PlacedNodes;
  readonly texts: UnschedulableTexts;
}

/**
 * Holds the result of an allocator policy against what exists: cluster, node and GPUs must be there
 * and alive. A result is one placement or a list of them, one per request, at most 10,000. null, `{}` and
 * `cluster_id: null` mean that nothing fits: unschedulable, with the policy's own `reasons` if it gave any, as does `[]` where one placement was asked for. Of several
 * requests it is said of each, of more than 10,000 once. GPU ids become slot strings; ints and UUIDs are accepted. Extra keys are kept. A GPU that is leased or
 * allocated may be chosen (a policy may know better), and is told as taken.
 */
export function checkPlacement(result: unknown, context: PlacementContext): PlacementCheck {
  const { candidates, requestCount } = context;
  const texts = new UnschedulableTexts(candidates.size);
  const common = { candidates, nodes: new PlacedNodes(), texts };
  if (!Array.isArray(result)) return checkOne(result, common, requestCount);
  // An empty list answers an empty list of requests; to one request it says that nothing fits.
  if (requestCount === undefined && result.length === 0) {
    return { kind: "unschedulable", data: texts.of(null) };
  }
  if (requestCount !== undefined && result.length !== requestCount) {
    const expected = `expected ${requestCount} placements, one per request`;
    return invalid("result", `${expected}, got ${result.length}`);
  }
  if (result.length > MAX_PLACEMENTS) {
    return invalid("result", `expected at most ${MAX_PLACEMENTS} placements, got ${result.length}`);
  }
  return checkList(result, common);
}

function checkOne(result: unknown, common: Common, requestCount = 1): PlacementCheck {
  const item = checkItem(result, "result", common);
  if (item.kind === "invalid" || requestCount === 1) return item;
  if (item.kind === "unschedulable") {
    if (requestCount > MAX_PLACEMENTS) return item;
    const data = requestCount === 0 ? [] : common.texts.forEach(item.data, requestCount);
    return { kind: "unschedulable", data };
  }
  const expected = `expected a list of ${requestCount} placements, one per request`;
  return invalid("result", `${expected}, got one placement`);
}

function checkList(result: readonly unknown[], common: Common): PlacementCheck {
  const data: object[] = [];
  const gpus: PlacedGpu[] = [];
  const taken: TakenGpu[] = [];
  const given = new Set<string>();
  let isPlaced = false;
  for (const [index, value] of result.entries()) {
    const item = checkItem(value, `result[${index}]`, common);
    if (item.kind === "invalid") return item;
    data.push(item.data);
    if (item.kind === "unschedulable") continue;
    isPlaced = true;
    for (const gpu of item.gpus) {
      const name = `${gpu.clusterId}/${gpu.nodeId}/${gpu.slot}`;
      if (given.has(name)) return invalid(`result[${index}].gpus`, `${name} is given twice`);
      given.add(name);
      gpus.push(gpu);
    }
    for (const gpu of item.taken) taken.push(gpu);
  }
  return isPlaced ? { kind: "placed", data, gpus, taken } : { kind: "unschedulable", data };
}

function checkItem(value: unknown, path: string, common: Common): ItemCheck {
  const { candidates, texts } = common;
  if (value === null) return { kind: "unschedulable", data: texts.of(null) };
  if (!isJsonObject(value)) {
    return invalid(path, `expected an object, a list or null, got ${valueName(value)}`);
  }
  const clusterId = value.cluster_id;
  if (clusterId === undefined || clusterId === null) {
    if (clusterId === undefined && Object.keys(value).some((key) => !key.startsWith("reason"))) {
      return invalid(`${path}.cluster_id`, "it is missing; use null when nothing fits");
    }
    return { kind: "unschedulable", data: texts.of(value) };
  }
  if (typeof clusterId !== "string") {
    return invalid(`${path}.cluster_id`, `expected a string, got ${valueName(clusterId)}`);
  }
  if ((value.unschedulable ?? false) !== false) {
    const why = "a cluster is chosen; use cluster_id null when nothing fits";
    return invalid(`${path}.unschedulable`, why);
  }
  const cluster = candidates.get(clusterId);
  if (cluster === undefined) {
    const why = `${shortName(clusterId)} is not one of the candidate clusters`;
    return invalid(`${path}.cluster_id`, why);
  }
  if (cluster.health === "unreachable") {
    return invalid(`${path}.cluster_id`, `${clusterId} is unreachable`);
  }
  return checkNode(value, path, { cluster, nodes: common.nodes });
}

function checkNode(
  value: Record<string, unknown>,
  path: string,
  { cluster, nodes }: { readonly cluster: ClusterView; readonly nodes: PlacedNodes },
): ItemCheck {
  const { node_id: nodeId, gpus } = value;
  const isWithout = gpus === undefined || gpus === null || (Array.isArray(gpus) && !gpus.length);
  const whole: ItemCheck = { kind: "placed", data: value, gpus: [], taken: [] };
  if (nodeId === undefined || nodeId === null) {
    if (isWithout) return whole;
    return invalid(`${path}.node_id`, "gpus need the node that they are on");
  }
  if (typeof nodeId !== "string") {
    return invalid(`${path}.node_id`, `expected a string, got ${valueName(nodeId)}`);
  }
  const node = nodes.find(cluster, nodeId);
  if (node === undefined) {
    return invalid(`${path}.node_id`, `cluster ${cluster.id} has no node ${shortName(nodeId)}`);
  }
  if (cluster.health === "live" && cluster.nodes.get(nodeId)?.status !== "healthy") {
    return invalid(`${path}.node_id`, `node ${nodeId} of cluster ${cluster.id} is not healthy`);
  }
  if (isWithout) return whole;
  if (!Array.isArray(gpus)) {
    return invalid(`${path}.gpus`, `expected an array, got ${valueName(gpus)}`);
  }
  return checkGpus({ value, path, gpus, node, nodes, clusterId: cluster.id, nodeId });
}

function checkGpus(check: {
  readonly value: Record<string, unknown>;
  readonly path: string;
  readonly gpus: readonly unknown[];
  readonly node: NodeEntry;
  readonly nodes: PlacedNodes;
  readonly clusterId: string;
  readonly nodeId: string;
}): ItemCheck {
  const { value, path, gpus, node, nodeId, clusterId } = check;
  const slots = check.nodes.slots(node);
  const where = `${clusterId}/${nodeId}`;
  const ids = new Set<string>();
  const taken: TakenGpu[] = [];
  for (const [index, gpu] of gpus.entries()) {
    const field = `${path}.gpus[${index}]`;
    const id = typeof gpu === "string" ? gpu : String(toNumber(gpu) ?? "");
    if (id === "") return invalid(field, `expected a GPU id, got ${valueName(gpu)}`);
    const slot = slots.get(id);
    if (slot === undefined) return invalid(field, `node ${where} has no GPU ${shortName(id)}`);
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

function shortName(name: string): string {
  return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}…` : name;
}

function invalid(path: string, why: string): { kind: "invalid"; message: string } {
  return { kind: "invalid", message: `${path}: ${why}` };
}
