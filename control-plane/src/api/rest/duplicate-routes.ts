import { bodyObject, type CandidateView, type DuplicatesView, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { ClusterAgents } from "../../fleet/cluster-agents.ts";
import { sendData } from "./query-parameters.ts";

const PickBody = Type.Object(
  { agent_instance_id: Type.String({ maxLength: 256 }) },
  { additionalProperties: false },
);

interface IdParams {
  readonly id: string;
}

/**
 * Two agents of one cluster: `GET /clusters/:id/duplicates` lists them, `POST /clusters/:id/pick` with
 * `agent_instance_id` tells which one is the cluster's.
 */
export function duplicateRoutes(server: FastifyInstance, agents: ClusterAgents): void {
  const tags = ["clusters"];
  server.get<{ Params: IdParams }>(
    "/clusters/:id/duplicates",
    { schema: { tags, summary: "Agents that run as one cluster at the same time" } },
    async (request, reply) => {
      const { id } = request.params;
      const view = await agents.duplicates(request.principal.orgId, id);
      return sendData(reply, document(id, view));
    },
  );
  server.post<{ Params: IdParams }>(
    "/clusters/:id/pick",
    { schema: { tags, body: PickBody, summary: "Tell which of two agents is the cluster's" } },
    async (request, reply) => {
      const { id } = request.params;
      const { agent_instance_id: instanceId } = parse(PickBody, bodyObject(request));
      const view = await agents.pick(request.principal.orgId, id, instanceId);
      return sendData(reply, document(id, view));
    },
  );
}

function document(id: string, { state, since, candidates }: DuplicatesView) {
  return { cluster_id: id, state, since: since ?? null, candidates: candidates.map(toWire) };
}

function toWire(candidate: CandidateView) {
  return {
    agent_instance_id: candidate.instanceId,
    agent_incarnation: candidate.incarnation,
    address: candidate.address ?? null,
    first_seen_at: candidate.firstSeenAt,
    age_ms: candidate.ageMs ?? null,
    verdict: candidate.verdict,
  };
}
