import { bodyObject, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply } from "fastify";
import { Type } from "typebox";
import { PolicyChange, PublishBody } from "../../policies/policy-record.ts";
import type { PolicyRegistry } from "../../policies/policy-registry.ts";
import { filterOf } from "./filter-body.ts";
import { pacedJson } from "./paced-json.ts";

const UnpackBody = Type.Object({
  /** A zip or tar archive (any compression) in base64. */
  archive: Type.String(),
});

interface UriParams {
  readonly uri: string;
}

/** The policy registry: publish, get, list, query, change, remove. */
export function policyRoutes(server: FastifyInstance, policies: PolicyRegistry): void {
  const tags = ["policies"];
  server.post(
    "/policy",
    { schema: { tags, summary: "Publish a policy", body: PublishBody } },
    async (request) => {
      const { orgId } = request.principal;
      const data = await policies.publish(orgId, bodyObject(request), request.bodyText);
      return { success: true, data };
    },
  );
  server.post(
    "/policy/unpack",
    { schema: { tags, summary: "The text files of a policy archive", body: UnpackBody } },
    async (request) => {
      const { archive } = parse(UnpackBody, bodyObject(request));
      return { success: true, data: { files: await policies.unpack(archive) } };
    },
  );
  server.get("/policies", { schema: { tags, summary: "All policies" } }, async (request, reply) =>
    sendList(reply, await policies.list(request.principal.orgId)),
  );
  server.post(
    "/policy/query",
    { schema: { tags, summary: "Policies that match a MongoDB-style filter" } },
    async (request, reply) => {
      const filter = filterOf(bodyObject(request));
      return sendList(reply, await policies.query(request.principal.orgId, filter));
    },
  );
  server.get<{ Params: UriParams }>(
    "/policy/:uri",
    { schema: { tags, summary: "One policy" } },
    async (request) => {
      const data = await policies.get(request.principal.orgId, request.params.uri);
      return { success: true, data };
    },
  );
  server.get<{ Params: UriParams }>(
    "/policy/:uri/code",
    { schema: { tags, summary: "The files of a policy" } },
    async (request) => {
      const { code } = await policies.runnable(request.principal.orgId, request.params.uri);
      return { success: true, data: { digest: code.digest, files: code.files } };
    },
  );
  server.put<{ Params: UriParams }>(
    "/policy/:uri",
    { schema: { tags, summary: "Change description, tags or metadata", body: PolicyChange } },
    async (request) => {
      const { uri } = request.params;
      const data = await policies.change(request.principal.orgId, uri, bodyObject(request));
      return { success: true, data };
    },
  );
  server.delete<{ Params: UriParams }>(
    "/policy/:uri",
    { schema: { tags, summary: "Remove a policy version" } },
    async (request) => {
      await policies.remove(request.principal.orgId, request.params.uri);
      return { success: true, data: "Policy deleted successfully." };
    },
  );
}

/** Answers with the envelope around a list that may be long. */
async function sendList(reply: FastifyReply, list: readonly unknown[]): Promise<FastifyReply> {
  const data = await pacedJson(list);
  return reply.type("application/json").send(`{"success":true,"data":${data}}`);
}
