import { BerthError, isBerthError, isJsonObject, type Reason } from "@berth/service-kit";
import { parsed, refusalOf, toError } from "../../allocation/agent-asking.ts";
import type { AgentAnswer } from "../../fleet/agent-api.ts";
import type { AllocationProfile } from "../../org/profiles/allocation-profile.ts";
import type { BlockGateway } from "../../placement/block-gateway.ts";
import { type Applied, type Applier, allocatedResponse, failedResponse } from "./applier.ts";
import type { BlockOrder, ScaleRequest } from "./scale-request.ts";
import type { ReplicaToGo, Victims } from "./victims.ts";

/** What {@link blockApplier} works with. */
export interface BlockApplierDeps {
  readonly gateway: Pick<BlockGateway, "find" | "ask" | "act">;
  readonly victims: Victims;
}

/** Longest time that the agent's operation is waited for, ms. */
const OPERATION_MS = 300_000;
const READ_MS = 5_000;
/** Instances of one operation. */
const MAX_INSTANCES = 1_000;
/** What may pass. */
const PASSING: readonly Reason[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "OVERLOADED"];

/** Brings the instances of a profile's block to a number, through the gateway: once, over restarts of either side. */
export function blockApplier(profile: AllocationProfile, deps: BlockApplierDeps): Applier {
  return {
    async apply(request, { signal, keep }) {
      const kept =
        request.order === undefined ? await plan(request, profile, deps, signal) : request.order;
      if ("response" in kept) return kept;
      const sent = await keep(kept);
      const { order } = sent ?? {};
      if (order === undefined) return undefined;
      return carryOut(request, order, deps, signal);
    },
  };
}

/** What is to be sent; the confirmation at once when there is nothing to do, or when it cannot be done. */
async function plan(
  request: ScaleRequest,
  { blockId = "", clusterId: named, victimPolicyRuleUri: uri }: AllocationProfile,
  { gateway, victims }: BlockApplierDeps,
  signal: AbortSignal,
): Promise<BlockOrder | Applied> {
  const { clusterId } = placeOf(gateway, blockId, named);
  if (clusterId === undefined && request.replicas === 0) return { response: allocatedResponse(0) };
  if (clusterId === undefined) {
    return {
      response: failedResponse(`block_id: no cluster has a block ${JSON.stringify(blockId)}`, 0),
    };
  }
  const instances = await instancesOf(gateway, { clusterId, blockId }, signal);
  const { replicas } = request;
  const missing = replicas - instances.length;
  if (missing === 0) return { response: allocatedResponse(replicas) };
  if (missing > 0) return { clusterId, blockId, add: Math.min(missing, MAX_INSTANCES) };
  const asked = { subjectId: request.subjectId, count: Math.min(-missing, MAX_INSTANCES), uri };
  return { clusterId, blockId, end: await victims.choose(instances, asked, signal) };
}

async function carryOut(
  request: ScaleRequest,
  order: BlockOrder,
  { gateway }: BlockApplierDeps,
  signal: AbortSignal,
): Promise<Applied> {
  const { clusterId, blockId, add } = order;
  const refusal = await send(order, { gateway, key: request.uuid, signal });
  const fits = fittingOf(refusal, add);
  // The agent remembers its refusal, so that a second run comes to the same number.
  const left =
    fits === undefined
      ? refusal
      : await send({ ...order, add: fits }, { gateway, key: `${request.uuid}/fits`, signal });
  const count = (await instancesOf(gateway, { clusterId, blockId }, signal)).length;
  if (left !== undefined) return { response: failedResponse(left.message, count) };
  return { response: allocatedResponse(count, refusal?.message) };
}

/** Has the agent scale the block; gives its refusal. What may pass is thrown. */
async function send(
  { clusterId, blockId, add, end }: BlockOrder,
  {
    gateway,
    key,
    signal,
  }: Pick<BlockApplierDeps, "gateway"> & { readonly key: string; readonly signal: AbortSignal },
): Promise<BerthError | undefined> {
  const what =
    add === undefined
      ? { operation: "downscale", instances_list: end }
      : { operation: "scale", instances_count: add };
  const fields = { action: "scale", block_id: blockId, ...what, idempotency_key: key };
  const asked = { clusterId, fields, waitMs: OPERATION_MS, isCharged: true };
  const answer = await sentOrRepeated(() => gateway.act(asked, signal));
  if (answer.status === 202) {
    throw new BerthError("DEADLINE_EXCEEDED", `cluster ${clusterId} is still scaling ${blockId}`);
  }
  const refusal = answer.status === 200 ? undefined : errorOf(answer);
  if (refusal !== undefined && PASSING.includes(refusal.reason)) throw refusal;
  return refusal;
}

/** Of what an agent died at nobody knows whether it ran (CONFLICT): that may pass, as it is sent again under the same key. */
async function sentOrRepeated(act: () => Promise<AgentAnswer>): Promise<AgentAnswer> {
  try {
    return await act();
  } catch (thrown) {
    if (!isBerthError(thrown) || thrown.reason !== "CONFLICT") throw thrown;
    throw new BerthError("UNAVAILABLE", thrown.message, { cause: thrown });
  }
}

/** How many of those that were to be added have room; undefined when none, or when that was not the matter. */
function fittingOf(refusal: BerthError | undefined, add: number | undefined): number | undefined {
  const fits = refusal?.details?.fits;
  const isPart = typeof fits === "number" && Number.isInteger(fits) && fits > 0;
  return isPart && add !== undefined && fits < add ? fits : undefined;
}

/** UNAVAILABLE is thrown when the block's cluster cannot be reached: that may pass. */
function placeOf(
  gateway: BlockApplierDeps["gateway"],
  blockId: string,
  clusterId: string | undefined,
): { readonly clusterId: string | undefined } {
  try {
    return { clusterId: gateway.find(blockId, clusterId).told.clusterId };
  } catch (thrown) {
    if (isBerthError(thrown) && thrown.reason === "NOT_FOUND") return { clusterId: undefined };
    throw thrown;
  }
}

/** The instances that shall run, as the agent has them now, the oldest first. */
async function instancesOf(
  gateway: BlockApplierDeps["gateway"],
  { clusterId, blockId }: Pick<BlockOrder, "clusterId" | "blockId">,
  signal: AbortSignal,
): Promise<readonly ReplicaToGo[]> {
  const path = `/blocks/${encodeURIComponent(blockId)}`;
  const answer = await gateway.ask(
    clusterId,
    { method: "GET", path },
    { timeoutMs: READ_MS, signal },
  );
  if (answer.status === 404) return [];
  if (answer.status !== 200) throw errorOf(answer);
  const { data } = parsed(answer.bodyJson) as { readonly data?: { readonly instances?: unknown } };
  const instances = Array.isArray(data?.instances) ? data.instances.filter(isJsonObject) : [];
  return instances
    .filter(({ phase }) => phase !== "terminating")
    .map(({ instance_id: id, node_id: node, created_at: at, ready }) => ({
      ...{ id: String(id), nodeId: String(node), createdAt: String(at), ready: ready === true },
    }))
    .toSorted((one, other) => (one.createdAt < other.createdAt ? -1 : 1));
}

function errorOf({ status, bodyJson }: AgentAnswer): BerthError {
  return toError(refusalOf(status, bodyJson));
}
