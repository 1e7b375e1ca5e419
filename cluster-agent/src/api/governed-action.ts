import { isDeepStrictEqual } from "node:util";
import type { ClusterDocument } from "@berth/proto";
import { BerthError, isJsonObject, parseLossless } from "@berth/service-kit";
import type { OperationRequest } from "../actions/operation-runner.ts";
import { type ActionFields, operationRequest, type RequestChecks } from "../actions/requests.ts";
import { DERIVED_FIELDS } from "../blocks/block-entry.ts";
import { type BlockScene, wholeDocumentText } from "../blocks/block-query.ts";
import type { BlockRecord } from "../blocks/block-records.ts";
import type { Hook } from "../prechecks/hooks.ts";
import type { PolicyMetrics } from "../prechecks/policy-metrics.ts";
import type { PreChecker } from "../prechecks/pre-checker.ts";

type Fields = Readonly<Record<string, unknown>>;
type Asked = Omit<OperationRequest, "idempotencyKey">;

/** What pre-checks of actions on blocks are made from. */
export interface ActionGovernorDeps {
  readonly prechecks: Pick<PreChecker, "check">;
  readonly clusterDocument: () => ClusterDocument;
  readonly clusterMetrics: () => PolicyMetrics;
  readonly blocks: {
    block(id: string): BlockRecord | undefined;
    instances(blockId: string): readonly { readonly nodeId: string }[];
  };
  /** All that documents of blocks show. */
  readonly scene: () => BlockScene;
}

/** An action that may be done. */
export interface GovernedRequest {
  /** What is done: as asked for, or as the policy has changed it. */
  readonly request: Asked;
  /** Denials that only warn. */
  readonly warnings: readonly string[];
}

/** How the fields of an action become what its policy sees, and what the policy returns becomes fields. */
interface Governance {
  readonly hook: Hook;
  input(governed: Governed): Fields;
  /** The fields of the action, as the policy has changed them. */
  changed(governed: Governed, item: unknown): Fields;
}

interface Governed {
  readonly fields: ActionFields;
  readonly asked: Asked;
  readonly deps: ActionGovernorDeps;
}

/** How a request is governed. */
export interface GovernRules {
  /** What it was checked with, and is checked with again. */
  readonly checks: RequestChecks;
  readonly signal: AbortSignal;
}

/** Fields that say how a request is answered, or whose it is; policies neither see nor change them. */
const MANNERS = [
  ...["action", "wait", "timeout_ms", "idempotency_key", "cluster_id"],
  ...["lease_ids", "lease_subject"],
];
/** What a policy cannot change, wherever it writes it. */
const IDENTITY = [
  ...["action", "operation", "block_id", "blockId", "cluster_id", "org_id"],
  ...["instance_id", "instanceId"],
];

const ADD: Governance = {
  hook: "add_block",
  input: ({ asked, deps }) => ({
    block_data: parseLossless(asked.inputJson),
    ...clusterFacts(deps),
  }),
  changed: (_governed, item) => {
    const data = objectOf(item, "block_data");
    const derived = DERIVED_FIELDS.find((field) => data[field] !== undefined);
    if (derived === undefined) return { block_data: data };
    throw invalid(`block_data.${derived}: a policy cannot change it`);
  },
};

const REMOVE: Governance = {
  hook: "remove_block",
  input: ({ asked, deps }) => {
    const nodes = deps.blocks.instances(asked.blockId).map(({ nodeId }) => nodeId);
    return {
      block_data: blockData(asked.blockId, deps),
      ...clusterFacts(deps),
      block_metrics: [],
      block_instance_nodes: [...new Set(nodes)],
    };
  },
  changed: ({ fields }) => fields,
};

const SCALE: Governance = {
  hook: "scale_block",
  input: ({ fields, asked, deps }) => ({
    block_data: blockData(asked.blockId, deps),
    input: payloadOf(fields, asked),
  }),
  changed: (_governed, item) => objectOf(item, "input"),
};

/** Policies see it as the downscale that it is, so that one which governs downscales governs it too. */
const REMOVE_INSTANCE: Governance = {
  hook: "scale_block",
  input: ({ fields, asked, deps }) => ({
    block_data: blockData(asked.blockId, deps),
    input: {
      ...{ operation: "downscale", block_id: asked.blockId },
      ...{ instances_list: [fields.instance_id], force: fields.force ?? false },
    },
  }),
  changed: ({ fields: { instance_id: id }, asked }, item) => {
    const input = objectOf(item, "input");
    const { operation = "downscale", block_id: blockId = asked.blockId } = input;
    if (operation !== "downscale") throw invalid("input.operation: a policy cannot change it");
    if (!isDeepStrictEqual(input.instances_list, [id])) {
      throw invalid("input.instances_list: a policy cannot change it");
    }
    return { block_id: blockId, instance_id: id, force: input.force };
  },
};

const MANAGE: Governance = {
  hook: "block_mgmt",
  input: ({ fields, asked, deps }) => ({
    block_data: blockData(asked.blockId, deps),
    input: { action: asked.action, payload: payloadOf(fields, asked) },
  }),
  changed: ({ asked }, item) => {
    const { action = asked.action, payload } = objectOf(item, "input");
    return { ...objectOf(payload, "input.payload"), action };
  },
};

const GOVERNANCE: Readonly<Record<string, Governance>> = {
  create_block: ADD,
  remove_block: REMOVE,
  scale: SCALE,
  remove_instance: REMOVE_INSTANCE,
  parameter_update: MANAGE,
  "reassign-instances": MANAGE,
};

/** Lets the cluster's pre-check policies decide on actions on blocks. */
export class ActionGovernor {
  readonly #deps: ActionGovernorDeps;

  constructor(deps: ActionGovernorDeps) {
    this.#deps = deps;
  }

  /**
   * Resolves with what is to be done. Rejects with PRECHECK_DENIED when it may not be done, and with POLICY_FAILED when
   * a policy has changed it to what does not hold, or to something of another identity.
   */
  async govern(
    fields: ActionFields,
    asked: Asked,
    { checks, signal }: GovernRules,
  ): Promise<GovernedRequest> {
    const governance = GOVERNANCE[asked.action];
    if (governance === undefined) return { request: asked, warnings: [] };
    const governed = { fields, asked, deps: this.#deps };
    const { warnings, changed = asked } = await this.#deps.prechecks.check({
      hook: governance.hook,
      about: `block/${asked.blockId}`,
      input: () => governance.input(governed),
      accept: (item) => changedRequest(governed, governance.changed(governed, item), checks),
      signal,
    });
    return { request: changed, warnings };
  }

  /**
   * What is to be done instead of an update of a block's record; the update itself when its policy changes nothing.
   * `accept` throws when an update cannot be done. Rejects as {@link govern} does.
   */
  async governUpdate(
    blockId: string,
    update: Fields,
    { accept, signal }: { readonly accept: (update: Fields) => void; readonly signal: AbortSignal },
  ): Promise<{ readonly update: Fields; readonly warnings: readonly string[] }> {
    const { warnings, changed = update } = await this.#deps.prechecks.check({
      hook: "block_mgmt",
      about: `block/${blockId}`,
      input: () => ({
        block_data: blockData(blockId, this.#deps),
        input: { action: "update", payload: { block_id: blockId, update } },
      }),
      accept: (item) => {
        const { action = "update", payload } = objectOf(item, "input");
        const { block_id: id = blockId, update: now } = objectOf(payload, "input.payload");
        if (action !== "update") throw invalid("input.action: a policy cannot change it");
        if (id !== blockId) throw invalid("input.payload.block_id: a policy cannot change it");
        const instead = objectOf(now, "input.payload.update");
        accept(instead);
        return instead;
      },
      signal,
    });
    return { update: changed, warnings };
  }
}

/** Reads changed fields as those of the client were read. INVALID_ARGUMENT when they do not hold. */
function changedRequest(
  { asked, fields }: Governed,
  changed: Fields,
  checks: RequestChecks,
): Asked {
  refuseOtherIdentity(changed, { ...fields, action: asked.action, block_id: asked.blockId });
  const request = operationRequest(asked.action, { ...own(changed), ...kept(fields) }, checks);
  if (request === undefined) throw invalid(`unknown action ${asked.action}`);
  if (request.blockId === asked.blockId) return request;
  throw invalid(`the block's id: a policy cannot change it from ${asked.blockId}`);
}

/** A member of what a policy returned; INVALID_ARGUMENT when it is no object. */
export function objectOf(value: unknown, field: string): Fields {
  if (isJsonObject(value)) return value;
  throw invalid(`${field}: expected an object`);
}

function refuseOtherIdentity(changed: Fields, fields: Fields): void {
  const instanceId = instanceIdOf(fields);
  const ids = { blockId: fields.block_id, instance_id: instanceId, instanceId };
  const was: Fields = { ...fields, ...ids };
  for (const field of IDENTITY) {
    const { [field]: now } = changed;
    if (now === undefined || now === was[field]) continue;
    throw invalid(`${field}: a policy cannot change it`);
  }
}

function kept(fields: ActionFields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => MANNERS.includes(name)));
}

function own(fields: ActionFields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !MANNERS.includes(name)));
}

function instanceIdOf({ instance_id: id, instanceId }: ActionFields): unknown {
  return id ?? instanceId;
}

/** The fields of an action but its manners, its ids under the names of the seed. */
function payloadOf(fields: ActionFields, { blockId }: Asked): Fields {
  const { blockId: _alias, instanceId: _other, ...others } = fields;
  const instanceId = instanceIdOf(fields);
  const instance = instanceId === undefined ? {} : { instance_id: instanceId };
  return { ...own(others), ...instance, block_id: blockId };
}

function clusterFacts({ clusterDocument, clusterMetrics }: ActionGovernorDeps): Fields {
  return { cluster_data: clusterDocument(), cluster_metrics: clusterMetrics() };
}

/** The block's document with its cluster and instances; of one that has no record only its id. */
function blockData(blockId: string, { blocks, scene }: ActionGovernorDeps): unknown {
  const record = blocks.block(blockId);
  if (record === undefined) return { id: blockId };
  return parseLossless(wholeDocumentText(record, scene()));
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
