import { bodyObject, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { AgentStatus } from "../../fleet/agent-sessions.ts";
import type { AdoptionReport, FleetAdoption, FleetStatus } from "../../fleet/fleet-adoption.ts";
import { sendData } from "./query-parameters.ts";

/** Body of `POST /fleet/adopt`. */
const AdoptBody = Type.Object(
  {
    store_ids: Type.Optional(
      Type.Array(Type.String({ pattern: "^[a-zA-Z0-9._-]{1,128}$" }), { maxItems: 100 }),
    ),
    dry_run: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

/** `GET /fleet`: this store and who obeys it. `POST /fleet/adopt`: take the place of another store. */
export function fleetRoutes(server: FastifyInstance, fleet: FleetAdoption): void {
  const tags = ["fleet"];
  server.get(
    "/fleet",
    { schema: { tags, summary: "This control-plane's store, and which agents obey it" } },
    async (request, reply) => sendData(reply, statusToWire(fleet.status(request.principal.orgId))),
  );
  server.post(
    "/fleet/adopt",
    {
      schema: {
        tags,
        body: AdoptBody,
        summary: "Take the place of the store that agents obeyed before",
      },
    },
    async (request, reply) => {
      const body = parse(AdoptBody, request.body === undefined ? {} : bodyObject(request));
      const { store_ids: storeIds, dry_run: dryRun = false } = body;
      const report = await fleet.adopt(request.principal.orgId, { storeIds, dryRun });
      return sendData(reply, reportToWire(report));
    },
  );
}

function statusToWire(status: FleetStatus): Record<string, unknown> {
  const { restored } = status;
  return {
    store_id: status.storeId,
    controller_term: Number(status.controllerTerm),
    adopted_store_ids: status.adoptedStoreIds,
    restored:
      restored === undefined
        ? null
        : {
            cluster_id: restored.clusterId,
            known_term: Number(restored.knownTerm),
            controller_term: Number(restored.controllerTerm),
            seen_at: restored.seenAt,
          },
    snapshots: status.snapshots,
    agents: status.agents.map(agentToWire),
    unknown: status.unknown.map(({ clusterId, seenAt }) => ({
      cluster_id: clusterId,
      seen_at: seenAt,
    })),
  };
}

function reportToWire(report: AdoptionReport): Record<string, unknown> {
  return {
    dry_run: report.dryRun,
    renewed: report.renewed,
    store_id: report.storeId,
    former_store_id: report.formerStoreId,
    adopted: report.adopted,
    agents: report.agents.map(agentToWire),
  };
}

function agentToWire(agent: AgentStatus): Record<string, unknown> {
  return {
    cluster_id: agent.clusterId,
    connected: agent.connected,
    mode: agent.mode,
    cause: agent.cause ?? null,
    why: agent.why ?? null,
    known_store_id: agent.knownStoreId === "" ? null : agent.knownStoreId,
    known_controller_term: Number(agent.knownControllerTerm),
    agent_incarnation: Number(agent.agentIncarnation),
    agent_instance_id: agent.agentInstanceId,
    agent_version: agent.agentVersion,
    heard_ms_ago: agent.heardMsAgo,
  };
}
