import { bodyObject, losslessBody, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply } from "fastify";
import { Type } from "typebox";
import { ClusterDocumentBody } from "../../fleet/cluster-body.ts";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import type { ClusterView } from "../../fleet/cluster-view.ts";
import { filterOf } from "./filter-body.ts";

const DeleteParameters = Type.Object(
  {
    force: Type.Optional(
      Type.Union([Type.Literal("true"), Type.Literal("false")], {
        description: "true: also when its agent is connected, which is cut off",
      }),
    ),
  },
  { additionalProperties: false },
);

interface IdParams {
  readonly id: string;
}

/** The cluster registry: `/clusters…`, bare documents as existing clients read them. */
export function clusterRoutes(server: FastifyInstance, clusters: ClusterRegistry): void {
  const tags = ["clusters"];
  server.get(
    "/clusters",
    { schema: { tags, summary: "Documents of all clusters" } },
    async (request, reply) => {
      const views = await clusters.query(request.principal.orgId, {});
      return sendJson(reply, documents(views));
    },
  );
  server.get<{ Params: IdParams }>(
    "/clusters/:id",
    { schema: { tags, summary: "Document of one cluster" } },
    async (request, reply) => {
      const view = await clusters.get(request.principal.orgId, request.params.id);
      return sendJson(reply, view.documentJson);
    },
  );
  server.post(
    "/clusters",
    {
      schema: {
        tags,
        summary: "Register a cluster without an agent",
        body: ClusterDocumentBody,
      },
    },
    async (request, reply) => {
      const view = await clusters.create(request.principal.orgId, losslessBody(request));
      return sendJson(reply, view.documentJson);
    },
  );
  server.put<{ Params: IdParams }>(
    "/clusters/:id",
    { schema: { tags, summary: "Update a registered cluster" } },
    async (request, reply) => {
      const { id } = request.params;
      const view = await clusters.update(request.principal.orgId, id, losslessBody(request));
      return sendJson(reply, view.documentJson);
    },
  );
  server.delete<{ Params: IdParams }>(
    "/clusters/:id",
    {
      schema: {
        tags,
        querystring: DeleteParameters,
        summary: "Remove a cluster, and end the key of its agent",
      },
    },
    async (request) => {
      const { force = "false" } = parse(DeleteParameters, request.query);
      const { orgId } = request.principal;
      await clusters.remove(orgId, request.params.id, { force: force === "true" });
      return { message: "Cluster deleted" };
    },
  );
  server.post(
    "/clusters/query",
    { schema: { tags, summary: "Documents that match a MongoDB-style filter" } },
    async (request, reply) => {
      const body = request.body === undefined ? {} : bodyObject(request);
      const views = await clusters.query(request.principal.orgId, filterOf(body));
      return sendJson(reply, documents(views));
    },
  );
}

function documents(views: readonly ClusterView[]): string {
  return `[${views.map((view) => view.documentJson).join(",")}]`;
}

/** Sends text that is JSON already, so that numbers stay as their owner wrote them. */
function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type("application/json").send(json);
}
