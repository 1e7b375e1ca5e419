import { BerthError, losslessBody, parse, spliced, valueAt, withMember } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { BlockGateway, PlacedBlock } from "../../placement/block-gateway.ts";
import { type PlacementRecord, placementDocument } from "../../placement/placement-record.ts";
import { mannersOf } from "../../placement/placement-request.ts";
import { type Placements, placementError } from "../../placement/placements.ts";
import { goneSignal, sendAgentAnswer } from "./agent-reply.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";
import { sendData } from "./query-parameters.ts";

/** What {@link blockRoutes} needs. */
export interface BlockRoutesDeps {
  readonly gateway: BlockGateway;
  readonly placements: Placements;
}

const clusterParameter = Type.Optional(Type.String({ description: "id of a cluster" }));
const ClusterParameters = Type.Object(
  { cluster_id: clusterParameter },
  { additionalProperties: false },
);
const ListParameters = Type.Object(
  { cluster_id: clusterParameter, limit: FleetLimitParameter },
  { additionalProperties: false },
);
const flag = Type.Optional(Type.Union([Type.Literal("true"), Type.Literal("false")]));
const RemoveParameters = Type.Object(
  {
    cluster_id: clusterParameter,
    wait: flag,
    timeout_ms: Type.Optional(Type.String({ pattern: "^[0-9]{1,6}$" })),
    force: flag,
    idempotency_key: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

/** Fields of actions that are none of their parameters. */
const OPTIONS: readonly string[] = [
  ...["block_id", "cluster_id", "wait", "timeout_ms", "idempotency_key"],
];

const READ_MS = 5_000;
const UPDATE_MS = 20_000;

interface BlockParams {
  readonly id: string;
}

/** Blocks of the whole fleet: `POST /blocks` places one, the others reach the cluster that it is on. */
export function blockRoutes(server: FastifyInstance, deps: BlockRoutesDeps): void {
  const { placements } = deps;
  const tags = ["blocks"];
  server.post(
    "/blocks",
    { schema: { tags, summary: "Place a block on the best cluster, and make it there" } },
    async (request, reply) => {
      const body = losslessBody(request);
      const signal = goneSignal(request, reply);
      const record = await placements.place(request.principal, body, signal);
      const error = placementError(record);
      if (error !== undefined) throw error;
      const document = placementDocument(record);
      if (record.phase !== "done") return sendData(reply.status(202), document);
      const block = blockOf(deps.gateway, record);
      return sendData(reply.status(201), { ...document, ...block });
    },
  );
  readingRoutes(server, deps);
  changingRoutes(server, deps);
}

function readingRoutes(server: FastifyInstance, { gateway }: BlockRoutesDeps): void {
  const tags = ["blocks"];
  server.get(
    "/blocks",
    { schema: { tags, querystring: ListParameters, summary: "Blocks of the fleet" } },
    async (request, reply) => {
      const { cluster_id: clusterId, limit } = parse(ListParameters, request.query);
      const all = gateway.clusters(clusterId).flatMap((told) => {
        return [...told.blocks.values()].map((block) => blockDocument({ told, block }));
      });
      return sendListed(reply, all, limit, gateway.missing());
    },
  );
  server.get<{ Params: BlockParams }>(
    "/blocks/:id",
    {
      schema: {
        tags,
        querystring: ClusterParameters,
        summary:
          "One block: as its agent describes it, or, while that is unreachable, as it was last told",
      },
    },
    async (request, reply) => {
      const { cluster_id: clusterId } = parse(ClusterParameters, request.query);
      const placed = gateway.find(request.params.id, clusterId);
      const last = () => sendData(reply, { ...blockDocument(placed), live: false });
      if (!placed.told.isLive) return last();
      const path = `/blocks/${encodeURIComponent(request.params.id)}`;
      const options = { timeoutMs: READ_MS, signal: goneSignal(request, reply) };
      try {
        const answer = await gateway.ask(placed.told.clusterId, { method: "GET", path }, options);
        const { status, bodyJson } = answer;
        return sendAgentAnswer(reply, { status, bodyJson: withPlace(bodyJson, placed) });
      } catch (thrown) {
        options.signal.throwIfAborted();
        if (thrown instanceof BerthError) return last();
        throw thrown;
      }
    },
  );
}

function changingRoutes(server: FastifyInstance, deps: BlockRoutesDeps): void {
  const { gateway } = deps;
  const tags = ["blocks"];
  const act = actOn(deps);
  server.delete<{ Params: BlockParams }>(
    "/blocks/:id",
    { schema: { tags, querystring: RemoveParameters, summary: "Remove a block" } },
    async (request, reply) => {
      const fields = { action: "remove_block", ...removal(request) };
      return act(request, reply, { id: request.params.id, fields });
    },
  );
  server.delete<{ Params: BlockParams & { readonly instance: string } }>(
    "/blocks/:id/instances/:instance",
    { schema: { tags, querystring: RemoveParameters, summary: "Remove an instance of a block" } },
    async (request, reply) => {
      const { id, instance } = request.params;
      const fields = { action: "remove_instance", instance_id: instance, ...removal(request) };
      return act(request, reply, { id, fields });
    },
  );
  const changes = [
    ["scale", "scale", "Add or remove instances"],
    ["reassign", "reassign-instances", "Move an instance to another place"],
    ["parameters", "parameter_update", "Update parameters of a block and its instances"],
  ] as const;
  for (const [route, action, summary] of changes) {
    server.post<{ Params: BlockParams }>(
      `/blocks/:id/${route}`,
      { schema: { tags, querystring: ClusterParameters, summary } },
      async (request, reply) => {
        const body = bodyWithCluster(request);
        const fields = action === "parameter_update" ? parameterFields(body) : body;
        return act(request, reply, { id: request.params.id, fields: { ...fields, action } });
      },
    );
  }
  server.patch<{ Params: BlockParams }>(
    "/blocks/:id",
    {
      schema: {
        tags,
        querystring: ClusterParameters,
        summary: "Update the entry of a block; what runs does not change",
      },
    },
    async (request, reply) => {
      const { cluster_id: clusterId } = parse(ClusterParameters, request.query);
      losslessBody(request);
      const { told } = gateway.find(request.params.id, clusterId);
      const path = `/block/update/${encodeURIComponent(request.params.id)}`;
      const change = { method: "PUT", path, bodyJson: request.bodyText } as const;
      const options = { timeoutMs: UPDATE_MS, signal: goneSignal(request, reply) };
      return sendAgentAnswer(reply, await gateway.ask(told.clusterId, change, options));
    },
  );
}

/** Gives the agent of a block an action for it; `cluster_id`, `wait` and `timeout_ms` stand among the fields. */
function actOn({ gateway, placements }: BlockRoutesDeps) {
  return async (
    request: FastifyRequest,
    reply: FastifyReply,
    { id, fields }: { readonly id: string; readonly fields: Readonly<Record<string, unknown>> },
  ): Promise<FastifyReply> => {
    const {
      cluster_id: clusterId,
      wait,
      timeout_ms: timeoutMs,
      block_id: named = id,
      ...rest
    } = fields;
    if (clusterId !== undefined && typeof clusterId !== "string") {
      throw new BerthError("INVALID_ARGUMENT", "cluster_id: expected the id of a cluster");
    }
    if (named !== id) {
      throw new BerthError("INVALID_ARGUMENT", "block_id: expected the block of the path");
    }
    const { waitMs } = mannersOf({ wait, timeout_ms: timeoutMs });
    const open = placements.openOf(id);
    if (open !== undefined) {
      const message = `block ${JSON.stringify(id)} is being placed: placement ${open.id} is ${open.phase}`;
      throw new BerthError("CONFLICT", message, { details: { placement_id: open.id } });
    }
    const { told } = gateway.find(id, clusterId);
    const action = { clusterId: told.clusterId, fields: { ...rest, block_id: id }, waitMs };
    return sendAgentAnswer(reply, await gateway.act(action, goneSignal(request, reply)));
  };
}

/** The body, with the cluster that the query names. */
function bodyWithCluster(request: FastifyRequest): Record<string, unknown> {
  const { cluster_id: named } = parse(ClusterParameters, request.query);
  const body = losslessBody(request);
  if (named === undefined) return body;
  const { cluster_id: other = named } = body;
  if (other === named) return { ...body, cluster_id: named };
  const message = "cluster_id: the parameter and the body name different clusters";
  throw new BerthError("INVALID_ARGUMENT", message);
}

function removal(request: FastifyRequest): Record<string, unknown> {
  const { wait, timeout_ms: timeoutMs, force, ...rest } = parse(RemoveParameters, request.query);
  return {
    ...rest,
    ...(wait === undefined ? {} : { wait: wait === "true" }),
    ...(timeoutMs === undefined ? {} : { timeout_ms: Number(timeoutMs) }),
    ...(force === undefined ? {} : { force: force === "true" }),
  };
}

/** The parameters as `update_data`, or as what the body has beside its options. */
function parameterFields(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (Object.hasOwn(body, "update_data")) return body;
  const isOption = ([name]: readonly [string, unknown]) => OPTIONS.includes(name);
  const all = Object.entries(body);
  const parameters = all.filter((one) => !isOption(one));
  return {
    ...Object.fromEntries(all.filter(isOption)),
    update_data: Object.fromEntries(parameters),
  };
}

/** The block as its cluster tells of it; a cluster that is not back yet, or was removed, tells nothing. */
function blockOf(gateway: BlockGateway, { blockId, current }: PlacementRecord): object {
  const told = current === undefined ? undefined : gateway.of(current.clusterId);
  const block = told?.blocks.get(blockId);
  return told === undefined || block === undefined ? {} : { block: blockDocument({ told, block }) };
}

function blockDocument({ told, block }: PlacedBlock): Record<string, unknown> {
  return { ...block, cluster_id: told.clusterId, live: told.isLive };
}

/** The agent's document with where it is from; a body without one stays as it is. */
function withPlace(bodyJson: string, { told }: PlacedBlock): string {
  const data = valueAt(bodyJson, ["data"]);
  if (data === undefined || bodyJson[data.start] !== "{") return bodyJson;
  const document = bodyJson.slice(data.start, data.end);
  const named = withMember(document, "cluster_id", JSON.stringify(told.clusterId));
  const text = withMember(named, "live", "true");
  return spliced(bodyJson, [{ ...data, text }]);
}
