import { bodyObject, compileFilter, parse, QueryRunner } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply } from "fastify";
import { Type } from "typebox";
import { previewDocument, previewQuota } from "../../org/charges/preview.ts";
import type { Org } from "../../org/org.ts";
import { type KeptQuota, quotaDocument } from "../../org/quotas/quota.ts";
import type { QuotaBook } from "../../org/quotas/quota-book.ts";
import { filterOf } from "./filter-body.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";
import { ifMatchOf, sendRevision } from "./revisions.ts";

const ListParameters = Type.Object(
  {
    after: Type.Optional(Type.String({ description: "only quotas behind this id" })),
    limit: FleetLimitParameter,
  },
  { additionalProperties: false },
);

const QuotaBody = Type.Object({
  subject_id: Type.Optional(Type.String()),
  quota_id: Type.Optional(Type.String({ description: "a UUID by default" })),
  allocation_info: Type.Optional(Type.Union([Type.String(), Type.Object({})])),
  replica_count: Type.Optional(Type.Union([Type.String(), Type.Integer()])),
  parent_id: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  min_replicas: Type.Optional(Type.Union([Type.String(), Type.Integer(), Type.Null()])),
  max_replicas: Type.Optional(Type.Union([Type.String(), Type.Integer(), Type.Null()])),
  nominal: Type.Optional(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
  limit: Type.Optional(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
});

interface IdParams {
  readonly id: string;
}

/**
 * The quotas of an org: `/quota` in the shapes of the seed (org-resource-manager), and `/quotas`, which finds them by a
 * MongoDB-style filter. Replies carry the revision as ETag; `If-Match` makes PUT and DELETE wait for nobody else's change.
 */
export function quotaRoutes(server: FastifyInstance, org: Org): void {
  const { id: orgId, quotas, charges, usage } = org;
  const tags = ["quotas"];
  const documents = async () => {
    const observedOf = await usage.observer();
    return (kept: KeptQuota) => {
      const { quota, revision } = kept;
      const used = charges.usedBy(quota.quotaId);
      return quotaDocument(quota, { orgId, revision, observed: observedOf(kept), used });
    };
  };
  const answer = async (reply: FastifyReply, kept: KeptQuota, message: string) => {
    sendRevision(reply, kept.revision);
    const documentOf = await documents();
    return { success: true, data: { message, id: kept.quota.quotaId, quota: documentOf(kept) } };
  };
  server.post(
    "/quota",
    { schema: { tags, summary: "Create a quota", body: QuotaBody } },
    async (request, reply) => {
      const kept = await quotas.create(bodyObject(request));
      return reply.code(201).send(await answer(reply, kept, "Resource quota created"));
    },
  );
  server.get<{ Params: IdParams }>(
    "/quota/:id",
    { schema: { tags, summary: "One quota" } },
    async ({ params }, reply) => {
      const kept = quotas.get(params.id);
      sendRevision(reply, kept.revision);
      const documentOf = await documents();
      return { success: true, data: documentOf(kept) };
    },
  );
  server.put<{ Params: IdParams }>(
    "/quota/:id",
    { schema: { tags, summary: "Change fields of a quota", body: QuotaBody } },
    async (request, reply) => {
      const { id } = request.params;
      const kept = await quotas.change(id, bodyObject(request), ifMatchOf(request));
      return answer(reply, kept, "Resource quota updated");
    },
  );
  server.delete<{ Params: IdParams }>(
    "/quota/:id",
    { schema: { tags, summary: "Remove a quota" } },
    async (request) => {
      await quotas.remove(request.params.id, ifMatchOf(request));
      return { success: true, data: { message: "Resource quota deleted" } };
    },
  );
  server.post<{ Params: IdParams }>(
    "/quota/:id/preview",
    {
      schema: { tags, summary: "What a change of a quota would come to, and what would fit" },
    },
    async (request) => {
      const body = request.body === undefined ? {} : bodyObject(request);
      const preview = await previewQuota(org, request.params.id, body);
      return { success: true, data: previewDocument(preview, await documents()) };
    },
  );
  listRoutes(server, quotas, documents);
}

/** `GET /quotas`, and `POST /quotas` with a filter, bare or as `query`. */
function listRoutes(
  server: FastifyInstance,
  quotas: QuotaBook,
  documents: () => Promise<(kept: KeptQuota) => Record<string, unknown>>,
): void {
  const tags = ["quotas"];
  const queries = new QueryRunner();
  const behind = (after: string | undefined) => {
    const all = quotas.all();
    return after === undefined ? all : all.filter(({ quota }) => quota.quotaId > after);
  };
  server.get(
    "/quotas",
    { schema: { tags, querystring: ListParameters, summary: "Quotas in the order of their ids" } },
    async (request, reply) => {
      const { after, limit } = parse(ListParameters, request.query);
      const documentOf = await documents();
      return sendListed(reply, behind(after).map(lazily(documentOf)), limit);
    },
  );
  server.post(
    "/quotas",
    {
      schema: {
        tags,
        querystring: ListParameters,
        summary: "Quotas that match a MongoDB-style filter",
      },
    },
    async (request, reply) => {
      const { after, limit } = parse(ListParameters, request.query);
      const body = request.body === undefined ? {} : bodyObject(request);
      const documentOf = await documents();
      const found = await queries.select({
        items: behind(after),
        matches: compileFilter(filterOf(body)),
        documentOf,
        field: "query",
      });
      return sendListed(reply, found.map(lazily(documentOf)), limit);
    },
  );
}

/** A quota whose document is made when it is written: of a long list only those of the page, and others have their turn between them. */
function lazily(documentOf: (kept: KeptQuota) => Record<string, unknown>) {
  return (kept: KeptQuota) => ({ toJSON: () => documentOf(kept) });
}
