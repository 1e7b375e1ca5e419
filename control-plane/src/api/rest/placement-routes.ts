import { parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { PLACEMENT_PHASES, placementDocument } from "../../placement/placement-record.ts";
import type { Placements } from "../../placement/placements.ts";
import { LimitParameter, readLimit, sendData } from "./query-parameters.ts";

const ListParameters = Type.Object(
  {
    block_id: Type.Optional(Type.String()),
    phase: Type.Optional(Type.Union(PLACEMENT_PHASES.map((phase) => Type.Literal(phase)))),
    limit: LimitParameter,
  },
  { additionalProperties: false },
);

interface IdParams {
  readonly id: string;
}

/** `/placements`: how blocks came to their clusters, and what is to be decided about one that is stuck. */
export function placementRoutes(server: FastifyInstance, placements: Placements): void {
  const tags = ["blocks"];
  server.get(
    "/placements",
    { schema: { tags, querystring: ListParameters, summary: "Placements, newest first" } },
    async (request, reply) => {
      const { block_id: blockId, phase, limit } = parse(ListParameters, request.query);
      const found = placements.list({ blockId, phase, limit: readLimit(limit) });
      return sendData(reply, found.map(placementDocument));
    },
  );
  server.get<{ Params: IdParams }>(
    "/placements/:id",
    { schema: { tags, summary: "One placement" } },
    async (request, reply) => sendData(reply, placementDocument(placements.get(request.params.id))),
  );
  for (const verb of ["retry", "abandon"] as const) {
    server.post<{ Params: IdParams }>(
      `/placements/:id/${verb}`,
      { schema: { tags, summary: `${verb} a placement that is stuck` } },
      async (request, reply) =>
        sendData(reply, placementDocument(await placements[verb](request.params.id))),
    );
  }
}
