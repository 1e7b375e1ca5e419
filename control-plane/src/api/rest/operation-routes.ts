import { parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { BlockGateway } from "../../placement/block-gateway.ts";
import { goneSignal, sendAgentAnswer } from "./agent-reply.ts";
import { sendListed } from "./listed.ts";
import { LimitParameter, readLimit, sendData } from "./query-parameters.ts";

const STATES = ["running", "undoing", "done", "failed", "stuck", "abandoned"] as const;

const ListParameters = Type.Object(
  {
    cluster_id: Type.Optional(Type.String()),
    block_id: Type.Optional(Type.String()),
    state: Type.Optional(Type.Union(STATES.map((state) => Type.Literal(state)))),
    limit: LimitParameter,
  },
  { additionalProperties: false },
);

const ASK_MS = 20_000;

interface IdParams {
  readonly id: string;
}

/** `/operations`: what the clusters of the fleet do and did, as far as they still tell of it. */
export function operationRoutes(server: FastifyInstance, gateway: BlockGateway): void {
  const tags = ["blocks"];
  server.get(
    "/operations",
    { schema: { tags, querystring: ListParameters, summary: "Operations, newest first" } },
    async (request, reply) => {
      const query = parse(ListParameters, request.query);
      const { cluster_id: clusterId, block_id: blockId, state } = query;
      const all = gateway.clusters(clusterId).flatMap((told) => {
        return [...told.operations.values()]
          .filter((one) => blockId === undefined || one.block_id === blockId)
          .filter((one) => state === undefined || one.state === state)
          .map((one) => ({ ...one, cluster_id: told.clusterId }));
      });
      const newest = all.toSorted((one, other) => (one.created_at < other.created_at ? 1 : -1));
      const data = newest.slice(0, readLimit(query.limit));
      return sendListed(reply, data, undefined, gateway.missing());
    },
  );
  server.get<{ Params: IdParams }>(
    "/operations/:id",
    { schema: { tags, summary: "One operation" } },
    async (request, reply) => {
      const { told, operation } = gateway.findOperation(request.params.id);
      return sendData(reply, { ...operation, cluster_id: told.clusterId });
    },
  );
  for (const verb of ["retry", "abandon"] as const) {
    server.post<{ Params: IdParams }>(
      `/operations/:id/${verb}`,
      { schema: { tags, summary: `${verb} an operation that is stuck` } },
      async (request, reply) => {
        const { id } = request.params;
        const { told } = gateway.findOperation(id);
        const path = `/operations/${encodeURIComponent(id)}/${verb}`;
        const options = { timeoutMs: ASK_MS, signal: goneSignal(request, reply) };
        return sendAgentAnswer(
          reply,
          await gateway.ask(told.clusterId, { method: "POST", path }, options),
        );
      },
    );
  }
}
