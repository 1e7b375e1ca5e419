import { BerthError, losslessBody, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { clusterOfLease } from "../../allocation/lease-id.ts";
import type { BlockGateway } from "../../placement/block-gateway.ts";
import { goneSignal, sendAgentAnswer } from "./agent-reply.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";

const cluster = Type.Optional(Type.String({ description: "id of a cluster" }));
const AllocationParameters = Type.Object(
  {
    cluster_id: cluster,
    block_id: Type.Optional(Type.String()),
    node_id: Type.Optional(Type.String()),
    limit: FleetLimitParameter,
  },
  { additionalProperties: false },
);
const LeaseParameters = Type.Object(
  { cluster_id: cluster, subject: Type.Optional(Type.String()), limit: FleetLimitParameter },
  { additionalProperties: false },
);

const ASK_MS = 10_000;

interface IdParams {
  readonly id: string;
}

/** `/allocations` and `/leases`: what the ledgers of the fleet hold; a lease is renewed and ended at its cluster. */
export function holdRoutes(server: FastifyInstance, gateway: BlockGateway): void {
  const tags = ["blocks"];
  server.get(
    "/allocations",
    { schema: { tags, querystring: AllocationParameters, summary: "What instances hold" } },
    async (request, reply) => {
      const query = parse(AllocationParameters, request.query);
      const { cluster_id: clusterId, block_id: blockId, node_id: nodeId } = query;
      await gateway.caughtUp(goneSignal(request, reply));
      const all = gateway.clusters(clusterId).flatMap((told) =>
        told.allocations
          .filter((one) => blockId === undefined || one.block_id === blockId)
          .filter((one) => nodeId === undefined || one.node_id === nodeId)
          .map((one) => ({ ...one, cluster_id: told.clusterId })),
      );
      return sendListed(reply, all, query.limit, gateway.missing());
    },
  );
  server.get(
    "/leases",
    { schema: { tags, querystring: LeaseParameters, summary: "What is held for a while" } },
    async (request, reply) => {
      const { cluster_id: clusterId, subject, limit } = parse(LeaseParameters, request.query);
      await gateway.caughtUp(goneSignal(request, reply));
      const all = gateway
        .clusters(clusterId)
        .flatMap((told) =>
          told.leases
            .filter((one) => subject === undefined || one.subject === subject)
            .map((one) => ({ ...one, cluster_id: told.clusterId })),
        );
      return sendListed(reply, all, limit, gateway.missing());
    },
  );
  server.post<{ Params: IdParams }>(
    "/leases/:id/renew",
    { schema: { tags, summary: "Put the end of a lease off" } },
    async (request, reply) => {
      losslessBody(request);
      const { id } = request.params;
      const path = `/leases/${encodeURIComponent(id)}/renew`;
      const renewal = { method: "POST", path, bodyJson: request.bodyText } as const;
      const options = { timeoutMs: ASK_MS, signal: goneSignal(request, reply) };
      return sendAgentAnswer(reply, await gateway.ask(clusterOf(gateway, id), renewal, options));
    },
  );
  server.delete<{ Params: IdParams }>(
    "/leases/:id",
    { schema: { tags, summary: "End a lease" } },
    async (request, reply) => {
      const { id } = request.params;
      const release = { method: "DELETE", path: `/leases/${encodeURIComponent(id)}` } as const;
      const options = { timeoutMs: ASK_MS, signal: goneSignal(request, reply) };
      return sendAgentAnswer(reply, await gateway.ask(clusterOf(gateway, id), release, options));
    },
  );
}

/** The cluster that a lease is on: the one in its id, or the one that tells of it. */
function clusterOf(gateway: BlockGateway, leaseId: string): string {
  const named = clusterOfLease(leaseId);
  if (named !== undefined) return named;
  const told = gateway
    .clusters()
    .find(({ leases }) => leases.some((lease) => lease.lease_id === leaseId));
  if (told !== undefined) return told.clusterId;
  throw new BerthError("NOT_FOUND", `no lease ${JSON.stringify(leaseId.slice(0, 100))}`);
}
