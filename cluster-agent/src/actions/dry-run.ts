import { BerthError, isJsonObject, Pacer, toNumber, typeName } from "@berth/service-kit";
import { unplaced } from "../allocator/allocator-answer.ts";
import type { Placement } from "../allocator/best-fit.ts";
import type { Placer } from "../allocator/placer.ts";
import type { ResourceAllocator } from "../allocator/resource-allocator.ts";
import { firstInstances, parseBlockField } from "../blocks/block-entry.ts";
import { type BlockRecord, blockRecord } from "../blocks/block-records.ts";
import {
  type RequestedPolicy,
  requestedPolicy,
  requestedProgram,
} from "../blocks/entry-reading.ts";
import type { Claim } from "../ledger/claim.ts";
import { type ActionFields, MAX_INSTANCES, type RequestChecks } from "./requests.ts";

/** Where one instance would go. */
export interface DryRunPlacement {
  readonly node_id: string;
  /** Slots, or UUIDs of parts of MIG. */
  readonly gpus: readonly string[];
}

/** What a dry run by best fit came to, in the seed's shape. */
export interface DryRunResult {
  readonly selection_score_data: {
    /** 0: the cluster cannot take all of the least number of instances; up to 1: it is empty. */
    readonly score: number;
    /** Where the first instance would go; empty when nowhere. */
    readonly node_info: Partial<DryRunPlacement>;
    /** Where each instance would go, all at once; absent when not all find a place. */
    readonly placements?: readonly DryRunPlacement[];
    /** Why nowhere, for people; absent otherwise. */
    readonly reasons?: readonly string[];
  };
}

/** What dry runs are done with. */
export interface DryRunDeps extends RequestChecks {
  readonly placer: Placer;
  readonly allocator: ResourceAllocator;
}

/**
 * Where a block would go, which is in `inputs` or else in `block_data`; takes nothing. By the policy of the request
 * (`policy_rule_uri`, `parameters`, `settings`) or by the block's own, whose result for one instance is given as it is; or by
 * best fit, for as many instances as the block has at least. INVALID_ARGUMENT names the field that does not hold.
 */
export async function dryRun(
  fields: ActionFields,
  deps: DryRunDeps,
  signal: AbortSignal,
): Promise<unknown> {
  const block = askedBlock(fields);
  const refusal = deps.runtime.refusal(requestedProgram(block.entry));
  if (refusal !== undefined) return unplaced([refusal]);
  const policy = askedPolicy(fields) ?? requestedPolicy(block.entry, "resourceAllocator");
  if (policy !== undefined) return deps.allocator.dryRun(policy, block, signal);
  const { placer } = deps;
  const count = instanceCount(block);
  const placed = await new Pacer().run(placeAll(placer, block, count), signal);
  if (placed.kind === "unschedulable") return unplaced(placed.reasons);
  const placements = placed.claims.map((claim) => placementOf(placer, claim));
  const { score } = placer.score(block);
  const [first = {}] = placements;
  return { selection_score_data: { score, node_info: first, placements } };
}

/** As many as are made when the block is created, but one at least. */
function instanceCount({ entry }: BlockRecord): number {
  const minInstances = firstInstances(entry);
  if (minInstances <= MAX_INSTANCES) return Math.max(1, minInstances);
  throw invalid(`minInstances: expected at most ${MAX_INSTANCES}, got ${minInstances}`);
}

type AllPlaced =
  | { readonly kind: "placed"; readonly claims: readonly Claim[] }
  | Extract<Placement, { kind: "unschedulable" }>;

/** Places for all instances at once; pauses after each. */
function* placeAll(placer: Placer, block: BlockRecord, count: number): Generator<void, AllPlaced> {
  const claims: Claim[] = [];
  while (claims.length < count) {
    const placement = placer.place({ block, besides: claims, excluded: new Set() });
    if (placement.kind === "unschedulable") {
      const which = `instance ${claims.length + 1} of ${count}`;
      const reasons = placement.reasons.map((why) => (count === 1 ? why : `${which}: ${why}`));
      return { ...placement, reasons };
    }
    claims.push(placement.claim);
    yield;
  }
  return { kind: "placed", claims };
}

function placementOf(placer: Placer, { nodeId, devices }: Claim): DryRunPlacement {
  const slots = new Map(placer.capacity(nodeId)?.gpus.map(({ uuid, slot }) => [uuid, slot]));
  return { node_id: nodeId, gpus: devices.map(({ uuid }) => String(slots.get(uuid) ?? uuid)) };
}

function askedBlock({ inputs, block_data: data }: ActionFields): BlockRecord {
  const about = { phase: "creating", operationId: "", createdAt: "", updatedAt: "" } as const;
  // The existing deployment reads `inputs` alone.
  const isInputs = inputs !== undefined && inputs !== null;
  const entry = isInputs ? parseBlockField("inputs", inputs) : parseBlockField("block_data", data);
  return blockRecord(entry, about);
}

function askedPolicy(fields: ActionFields): RequestedPolicy | undefined {
  const { policy_rule_uri: uri } = fields;
  if (uri === undefined || uri === null || uri === "") return undefined;
  if (typeof uri !== "string") throw invalid(`policy_rule_uri: expected a text, got ${got(uri)}`);
  return {
    policyRuleUri: uri,
    parameters: objectOf(fields, "parameters"),
    settings: objectOf(fields, "settings"),
  };
}

function objectOf(fields: ActionFields, name: string): Readonly<Record<string, unknown>> {
  const value = fields[name] ?? {};
  if (isJsonObject(value) && toNumber(value) === undefined) return value;
  throw invalid(`${name}: expected an object, got ${got(value)}`);
}

function got(value: unknown): string {
  return toNumber(value) === undefined ? typeName(value) : "number";
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
