import {
  BerthError,
  type createHttpServer,
  isJsonObject,
  losslessBody,
  parse,
} from "@berth/service-kit";
import { Type } from "typebox";
import type { DrainInput } from "../actions/drain-children.ts";
import { nodeKey } from "../actions/drain-node.ts";
import type { OperationRunner } from "../actions/operation-runner.ts";
import type { Cluster, ClusterChange } from "../cluster/cluster.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { checkOnboarded } from "../nodes/onboarded-entry.ts";
import { unknownHooks } from "../prechecks/policy-map.ts";
import type { ClusterGovernor } from "./cluster-governor.ts";
import { nodeDocument } from "./node-documents.ts";
import {
  answerOperation,
  goneSignal,
  type Manners,
  type Reply,
  readManners,
} from "./operation-answers.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What {@link addClusterActionRoutes} serves from. */
export interface ClusterActionRoutesOptions {
  readonly cluster: Cluster;
  readonly nodes: Pick<NodeRegistry, "roster" | "view">;
  readonly governor: ClusterGovernor;
  /** What drains nodes; undefined when this agent runs no blocks: then nothing runs on a node. */
  readonly operations: OperationRunner | undefined;
  /** Forgets an empty node, and refuses it from then on. */
  readonly retire: (nodeId: string, operationId: string) => Promise<void>;
}

/** Where the controller's own routes answer: at the root and below `urlMap.controllerService`. */
const CONTROLLER_PREFIXES = ["", "/controller"];
const DEFAULT_DRAIN_MS = 30 * 60_000;
const MAX_DRAIN_MS = 24 * 60 * 60_000;
/** A removal that takes longer is answered with 202, ms: before calls through the control-plane are over. */
const ANSWER_WITHIN_MS = 30_000;
/** Whose removal it is where no operation does it. */
const NO_OPERATION = "";

const flag = Type.Optional(Type.Union([Type.Literal("true"), Type.Literal("false")]));

const RemovalParameters = Type.Object(
  {
    force: flag,
    wait: flag,
    timeout_ms: Type.Optional(Type.String({ pattern: "^\\d{1,9}$" })),
    idempotency_key: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

/**
 * The cluster and its nodes: `GET /cluster-actions/get-cluster`, `PATCH …/update-cluster`, `POST …/add-node` with the node's entry,
 * `DELETE …/remove-node/<id>` (`force`, `timeout_ms`, `wait`, `idempotency_key`), `POST …/cordon-node/<id>` and
 * `…/uncordon-node/<id>`. Each is governed by its pre-check, and answers with the cluster document.
 */
export function addClusterActionRoutes(
  server: HttpServer,
  options: ClusterActionRoutesOptions,
): void {
  for (const prefix of CONTROLLER_PREFIXES) {
    addDocumentRoutes(server, `${prefix}/cluster-actions`, options);
    addOnboarding(server, `${prefix}/cluster-actions`, options);
    addRemoval(server, `${prefix}/cluster-actions`, options);
    addCordon(server, `${prefix}/cluster-actions`, options);
  }
}

function addDocumentRoutes(
  server: HttpServer,
  path: string,
  { cluster, governor }: ClusterActionRoutesOptions,
): void {
  server.get(`${path}/get-cluster`, async () => ({ success: true, data: cluster.document() }));
  server.patch(`${path}/update-cluster`, async (request, reply) =>
    updateCluster(losslessBody(request), { cluster, governor, reply }),
  );
}

/** Changes the cluster's own fields as its pre-check lets it, and answers with the cluster document. */
export async function updateCluster(
  update: Readonly<Record<string, unknown>>,
  {
    cluster,
    governor,
    reply,
  }: Pick<ClusterActionRoutesOptions, "cluster" | "governor"> & { readonly reply: Reply },
): Promise<object> {
  const warnings: string[] = [];
  const signal = goneSignal(reply);
  const data = await cluster.update(update, async (change: ClusterChange) => {
    const governed = await governor.updateCluster(update, change, signal);
    warnings.push(...governed.warnings);
    const isAsAsked = governed.update === update;
    return isAsAsked ? { kind: "as_asked" } : { kind: "instead", update: governed.update };
  });
  for (const name of unknownHooks(data.config.actionsPolicyMap)) {
    warnings.push(
      `config.actionsPolicyMap.${name}: names no pre-check; it is kept and does nothing`,
    );
  }
  return { success: true, data, ...told(warnings) };
}

function addOnboarding(
  server: HttpServer,
  path: string,
  options: ClusterActionRoutesOptions,
): void {
  server.post(`${path}/add-node`, async (request, reply) =>
    onboardNode(losslessBody(request), { ...options, reply }),
  );
}

/** Makes a node expected as its pre-check lets it, and answers with the cluster document and the node. */
export async function onboardNode(
  body: Readonly<Record<string, unknown>>,
  {
    cluster,
    governor,
    nodes,
    reply,
  }: Pick<ClusterActionRoutesOptions, "cluster" | "governor" | "nodes"> & { readonly reply: Reply },
): Promise<object> {
  const onboarded = checkOnboarded(entryOf(body, cluster.id));
  const { id } = onboarded;
  const { entryJson, warnings } = await governor.addNode(onboarded, goneSignal(reply));
  const stands = await nodes.roster.step(id, { kind: "onboard", entryJson });
  const node = nodeDocument(id, stands, nodes.view(id));
  return { success: true, data: cluster.document(), node, ...told(warnings) };
}

/** The node's entry: the body as the existing deployment takes it, or its `node_data`. */
function entryOf(body: Readonly<Record<string, unknown>>, clusterId: string): unknown {
  const { node_data: entry = body } = body;
  if (!isJsonObject(entry)) return entry;
  const { cluster_id: snake, clusterId: camel = snake, ...rest } = entry;
  if (camel === undefined || camel === clusterId) return rest;
  const message = `clusterId: this is cluster ${JSON.stringify(clusterId)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function addRemoval(server: HttpServer, path: string, options: ClusterActionRoutesOptions): void {
  server.delete<{ Params: { id: string } }>(`${path}/remove-node/:id`, async (request, reply) => {
    const query = parse(RemovalParameters, request.query);
    const timeoutMs = drainTimeMs(query.timeout_ms);
    const input = { nodeId: request.params.id, timeoutMs, force: query.force === "true" };
    const { wait, idempotency_key: idempotencyKey } = query;
    const given = { wait: wait !== "false", timeoutMs: ANSWER_WITHIN_MS, idempotencyKey };
    const manners = readManners(given);
    return removeNode(input, manners, { ...options, reply });
  });
}

async function removeNode(
  input: DrainInput,
  manners: Manners,
  {
    cluster,
    governor,
    nodes,
    operations,
    retire,
    reply,
  }: ClusterActionRoutesOptions & { readonly reply: Reply },
): Promise<object> {
  const { nodeId } = input;
  const gone = goneSignal(reply);
  const asked = {
    ...{ action: "remove-node" as const, blockId: nodeKey(nodeId) },
    ...{ inputJson: JSON.stringify(input), plan: {} },
    idempotencyKey: manners.idempotencyKey,
  };
  const data = () => cluster.document();
  const known = operations?.known(asked);
  if (operations !== undefined && known !== undefined) {
    return answerOperation(known, manners, { operations, reply, gone, warnings: [], data });
  }
  const state = nodes.roster.get(nodeId)?.state;
  if (state === undefined || state === "removed") {
    // In the words of the existing deployment, which its clients look for.
    throw new BerthError("NOT_FOUND", `Node ${nodeId} not found in cluster`);
  }
  const warnings = await governor.removeNode(nodeId, gone);
  if (operations === undefined) {
    await nodes.roster.step(nodeId, { kind: "drain", operationId: NO_OPERATION });
    await retire(nodeId, NO_OPERATION);
    return { success: true, data: data(), ...told(warnings) };
  }
  const accepted = await operations.accept(asked);
  return answerOperation(accepted, manners, { operations, reply, gone, warnings, data });
}

function addCordon(
  server: HttpServer,
  path: string,
  { cluster, governor, nodes }: ClusterActionRoutesOptions,
): void {
  for (const kind of ["cordon", "uncordon"] as const) {
    const url = `${path}/${kind}-node/:id`;
    server.post<{ Params: { id: string } }>(url, async ({ params: { id } }, reply) => {
      const warnings = await governor.manageNode(`${kind}-node`, id, goneSignal(reply));
      const stands = await nodes.roster.step(id, { kind });
      const node = nodeDocument(id, stands, nodes.view(id));
      return { success: true, data: cluster.document(), node, ...told(warnings) };
    });
  }
}

function drainTimeMs(text: string | undefined): number {
  const timeMs = text === undefined ? DEFAULT_DRAIN_MS : Number(text);
  if (timeMs <= MAX_DRAIN_MS) return timeMs;
  throw new BerthError("INVALID_ARGUMENT", `timeout_ms: expected a number of 0-${MAX_DRAIN_MS}`);
}

function told(warnings: readonly string[]): object {
  return warnings.length === 0 ? {} : { warnings };
}
