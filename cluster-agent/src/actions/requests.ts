import { BerthError, isJsonObject, isRawNumber, toNumber, typeName } from "@berth/service-kit";
import type { GivenPlacement } from "../allocator/placer.ts";
import { firstInstances, parseBlockField } from "../blocks/block-entry.ts";
import { hasInitContainer, isThirdParty, requestedProgram } from "../blocks/entry-reading.ts";
import type { Ownership, Runtime } from "../runtime/runtime.ts";
import { planInstances } from "./instance-crew.ts";
import { plannedLeases } from "./lease-fields.ts";
import type { OperationRequest } from "./operation-runner.ts";
import type { ReassignInput } from "./reassign-instance.ts";
import type { ScaleInput } from "./scale-block.ts";

/** Instances that one request makes or ends at most. */
export const MAX_INSTANCES = 1_000;
/** Longest time that a moved instance is given to be ready, ms. */
const MAX_READY_TIMEOUT_MS = 3_600_000;

/** The fields of a request, flat as the existing deployment takes them or within `data` as the seed writes them. */
export type ActionFields = Readonly<Record<string, unknown>>;

/** What requests are checked with before they are accepted. */
export interface RequestChecks {
  readonly runtime: Pick<Runtime, "refusal">;
  /** Store and term of the control-plane that gives the order; undefined for a client of this cluster's own API. */
  readonly fence?: Ownership["fence"] | undefined;
}

type Request = Omit<OperationRequest, "idempotencyKey">;
type Reader = (fields: ActionFields, checks: RequestChecks) => Request;

/** Readers of the actions that are done as operations, by the names that clients give them. */
const READERS: ReadonlyMap<string, Reader> = new Map([
  ["create_block", createRequest],
  ["remove_block", removeRequest],
  ["scale", scaleRequest],
  ["remove_instance", removeInstanceRequest],
  ["parameter_update", parametersRequest],
  ["reassign-instances", reassignRequest],
  ["reassign", reassignRequest],
]);

/** Joins a body's own fields with those of its `data`, which win. INVALID_ARGUMENT when `data` is no object. */
export function actionFields(body: Readonly<Record<string, unknown>>): ActionFields {
  const { data = {}, ...flat } = body;
  if (!isJsonObject(data)) throw invalid(`data: expected an object, got ${typeName(data)}`);
  return { ...flat, ...data };
}

/**
 * The operation that a request asks for; undefined when its action is none. Numbers stay as they were written.
 * INVALID_ARGUMENT names the field, PRECONDITION_FAILED tells that this cluster can never run the block.
 */
export function operationRequest(
  action: string,
  fields: ActionFields,
  checks: RequestChecks,
): Request | undefined {
  const request = READERS.get(action)?.(fields, checks);
  if (request === undefined || checks.fence === undefined) return request;
  const { storeId, controllerTerm } = checks.fence;
  return { ...request, plan: { ...request.plan, fence: { storeId, controllerTerm } } };
}

function createRequest(fields: ActionFields, checks: RequestChecks): Request {
  const { runtime, fence } = checks;
  const entry = parseBlockField("block_data", fields.block_data);
  const refusal = runtime.refusal(requestedProgram(entry));
  if (refusal !== undefined) throw new BerthError("PRECONDITION_FAILED", refusal);
  if (isThirdParty(entry) && hasInitContainer(entry)) throw noInitContainers();
  const minInstances = firstInstances(entry);
  if (minInstances > MAX_INSTANCES) {
    throw invalid(
      `block_data.minInstances: expected at most ${MAX_INSTANCES}, got ${minInstances}`,
    );
  }
  return {
    action: "create_block",
    blockId: entry.id,
    inputJson: JSON.stringify(entry),
    plan: { instances: plannedLeases(fields, planInstances(minInstances), fence) },
  };
}

/** What it would prepare is not there without it. */
function noInitContainers(): BerthError {
  const field = "block_data.component.containerRegistryInfo.initContainer";
  return new BerthError("UNIMPLEMENTED", `${field}: comes with a later version of Berth`);
}

function removeRequest(fields: ActionFields): Request {
  // It says nothing here, but is an option of other ends: a wrong one is a mistake.
  booleanOf(fields.force, "force");
  return { action: "remove_block", blockId: idOf(fields, "block_id"), inputJson: "{}", plan: {} };
}

function scaleRequest(fields: ActionFields, { fence }: RequestChecks): Request {
  const blockId = idOf(fields, "block_id");
  const { operation } = fields;
  if (operation === "scale" || operation === "upscale") return growRequest(blockId, fields, fence);
  if (operation === "downscale") {
    const instanceIds = textList(fields.instances_list, "instances_list");
    const force = booleanOf(fields.force, "force");
    const input: ScaleInput = { operation: "downscale", instanceIds, force };
    return { action: "scale", blockId, inputJson: JSON.stringify(input), plan: {} };
  }
  throw invalid(`operation: expected "scale" or "downscale", got ${got(operation)}`);
}

function growRequest(
  blockId: string,
  fields: ActionFields,
  fence: RequestChecks["fence"],
): Request {
  const { allocation_data: given, init_data: initData } = fields;
  const placements = given === undefined || given === null ? undefined : givenPlacements(given);
  const count = fields.instances_count ?? placements?.length;
  const instances = toNumber(count) ?? Number.NaN;
  if (!Number.isInteger(instances) || instances < 1 || instances > MAX_INSTANCES) {
    throw invalid(
      `instances_count: expected a whole number of 1-${MAX_INSTANCES}, got ${got(count)}`,
    );
  }
  if (placements !== undefined && placements.length < instances) {
    const message = `allocation_data: expected ${instances} placements, one for each instance, got ${placements.length}`;
    throw invalid(message);
  }
  const chosen = placements?.slice(0, instances);
  const texts = initDataTexts(initData, instances);
  // All that tells one request from another: that is what a repeated one is known by.
  const { extra_data: extraData } = fields;
  const input: ScaleInput = {
    ...{ operation: "scale", count: instances, initData: texts },
    ...(extraData === undefined ? {} : { extraData }),
    ...(chosen === undefined ? {} : { placements: chosen }),
  };
  const planned = plannedLeases(fields, planInstances(instances, texts), fence);
  const isLeased = planned.some(({ lease }) => lease !== undefined);
  if (isLeased && chosen !== undefined) {
    throw invalid("lease_ids: expected none beside allocation_data");
  }
  const plan = { instances: planned };
  return { action: "scale", blockId, inputJson: JSON.stringify(input), plan };
}

function removeInstanceRequest(fields: ActionFields): Request {
  const instanceIds = [idOf(fields, "instance_id")];
  const force = booleanOf(fields.force, "force");
  const input: ScaleInput = { operation: "downscale", instanceIds, force };
  const blockId = idOf(fields, "block_id");
  return { action: "remove_instance", blockId, inputJson: JSON.stringify(input), plan: {} };
}

function parametersRequest(fields: ActionFields): Request {
  const { update_data: changes } = fields;
  if (!isJsonObject(changes) || isRawNumber(changes) || Object.keys(changes).length === 0) {
    throw invalid(`update_data: expected a non-empty object, got ${got(changes)}`);
  }
  const blockId = idOf(fields, "block_id");
  return { action: "parameter_update", blockId, inputJson: JSON.stringify(changes), plan: {} };
}

function reassignRequest(fields: ActionFields): Request {
  const instanceId = idOf(fields, "instance_id", "instanceId");
  const { extra_data: extraData, ready_timeout_ms: timeout } = fields;
  const input: ReassignInput = {
    instanceId,
    ...(extraData === undefined ? {} : { extraData }),
    ...(timeout === undefined || timeout === null ? {} : { readyTimeoutMs: readyTimeout(timeout) }),
  };
  return {
    action: "reassign-instances",
    blockId: idOf(fields, "block_id", "blockId"),
    inputJson: JSON.stringify(input),
    plan: { instances: planInstances(1) },
  };
}

function readyTimeout(value: unknown): number {
  const limitMs = toNumber(value);
  if (limitMs !== undefined && limitMs >= 0 && limitMs <= MAX_READY_TIMEOUT_MS) return limitMs;
  throw invalid(
    `ready_timeout_ms: expected a number of 0-${MAX_READY_TIMEOUT_MS}, got ${got(value)}`,
  );
}

function givenPlacements(given: unknown): readonly GivenPlacement[] {
  if (!Array.isArray(given) || given.length > MAX_INSTANCES) {
    const found = Array.isArray(given) ? `${given.length} of them` : typeName(given);
    throw invalid(`allocation_data: expected a list of at most ${MAX_INSTANCES}, got ${found}`);
  }
  return given.map((one: unknown, place) => {
    const field = `allocation_data.${place}`;
    if (!isJsonObject(one)) throw invalid(`${field}: expected an object, got ${typeName(one)}`);
    const { node_id: nodeId, gpu_ids: gpuIds = one.gpus } = one;
    if (typeof nodeId !== "string" || nodeId === "") {
      throw invalid(`${field}.node_id: expected the id of a node, got ${got(nodeId)}`);
    }
    const gpusField = one.gpu_ids === undefined ? ("gpus" as const) : ("gpu_ids" as const);
    return { nodeId, gpuIds: gpuIds ?? [], field, gpusField };
  });
}

function initDataTexts(initData: unknown, instances: number): readonly string[] {
  if (initData === undefined || initData === null) return [];
  if (!Array.isArray(initData)) throw invalid(`init_data: expected a list, got ${got(initData)}`);
  if (initData.length > 0 && initData.length < instances) {
    const message = `init_data: expected ${instances} of them, one for each instance, got ${initData.length}`;
    throw invalid(message);
  }
  return initData.map((one: unknown) => JSON.stringify(one ?? {}));
}

function idOf(fields: ActionFields, name: string, alias?: string): string {
  const id = fields[name] ?? (alias === undefined ? undefined : fields[alias]);
  if (typeof id === "string" && id !== "" && id.length <= 253) return id;
  throw invalid(`${name}: expected an id, got ${got(id)}`);
}

function textList(value: unknown, field: string): readonly string[] {
  const isList = Array.isArray(value) && value.length > 0 && value.length <= MAX_INSTANCES;
  if (!isList) {
    throw invalid(`${field}: expected a list of 1-${MAX_INSTANCES} ids, got ${got(value)}`);
  }
  const place = value.findIndex((one) => typeof one !== "string" || one === "");
  if (place < 0) return value;
  throw invalid(`${field}.${place}: expected an id, got ${got(value[place])}`);
}

function booleanOf(value: unknown, field: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value === "boolean") return value;
  throw invalid(`${field}: expected true or false, got ${got(value)}`);
}

function got(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === "") return "an empty text";
  const number = toNumber(value);
  if (number !== undefined) return String(number);
  if (Array.isArray(value))
    return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (isJsonObject(value)) return Object.keys(value).length === 0 ? "an empty object" : "an object";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : typeName(value);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
