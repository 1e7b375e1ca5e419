import { parse, parseLossless } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { FleetEvent, FleetEvents } from "../../fleet/fleet-events.ts";
import { LimitParameter, readLimit, sendData } from "./query-parameters.ts";

const EventParameters = Type.Object(
  {
    cluster_id: Type.Optional(Type.String()),
    kind: Type.Optional(Type.String()),
    before: Type.Optional(
      Type.String({ pattern: "^[0-9]{1,15}$", description: "seq that the page ends before" }),
    ),
    limit: LimitParameter,
  },
  { additionalProperties: false },
);

/** `GET /events`: what happened on the clusters and on the links to them, newest first. */
export function eventRoutes(server: FastifyInstance, events: FleetEvents): void {
  server.get(
    "/events",
    {
      schema: {
        tags: ["events"],
        querystring: EventParameters,
        summary: "Events of the fleet, newest first",
      },
    },
    async (request, reply) => {
      const query = parse(EventParameters, request.query);
      const { cluster_id: clusterId, kind, before } = query;
      const limit = readLimit(query.limit);
      const found = await events.list({ clusterId, kind, before, limit });
      return sendData(reply, found.map(toWire));
    },
  );
}

function toWire(event: FleetEvent): Record<string, unknown> {
  return {
    seq: Number(event.seq),
    event_id: event.eventId,
    cluster_id: event.clusterId,
    kind: event.kind,
    key: event.key,
    facts: parseLossless(event.factsJson),
    at: event.at,
    received_at: event.receivedAt,
  };
}
