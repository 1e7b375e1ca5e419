import { BerthError, losslessBody, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import type { Body } from "../../autoscaler/workflows/workflow-body.ts";
import { type KeptWorkflow, workflowDocument } from "../../autoscaler/workflows/workflow-book.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";
import { sendData } from "./query-parameters.ts";
import { ifMatchOf, sendRevision } from "./revisions.ts";

const ListParameters = Type.Object({ limit: FleetLimitParameter }, { additionalProperties: false });

interface IdParams {
  readonly id: string;
}

/**
 * `/workflows`: what the autoscaler can run. Bodies are JSON in the registry's form or the org's, or `{"yaml": "…"}` with the same as
 * YAML text; checked when they are written.
 */
export function workflowRoutes(
  server: FastifyInstance,
  { workflows, settings }: Pick<Autoscaler, "workflows" | "settings">,
  orgId: string,
): void {
  const tags = ["workflows"];
  const documentOf = async (kept: KeptWorkflow) =>
    workflowDocument(kept, orgId, await workflows.missing(kept));
  const send = async (reply: FastifyReply, kept: KeptWorkflow) => {
    const document = await documentOf(kept);
    sendRevision(reply, kept.revision);
    return sendData(reply, document);
  };
  server.post(
    "/workflows",
    { schema: { tags, summary: 'Write a workflow; {"yaml": text} is one as YAML' } },
    async (request, reply) => {
      const kept = await workflows.create(givenOf(request));
      return send(reply.code(201), kept);
    },
  );
  server.get(
    "/workflows",
    { schema: { tags, querystring: ListParameters, summary: "All workflows" } },
    async (request, reply) => {
      const { limit } = parse(ListParameters, request.query);
      const documents: Body[] = [];
      for (const kept of workflows.all()) documents.push(await documentOf(kept));
      return sendListed(reply, documents, limit);
    },
  );
  server.get<{ Params: IdParams }>(
    "/workflows/:id",
    { schema: { tags, summary: "One workflow" } },
    async ({ params }, reply) => send(reply, workflows.get(params.id)),
  );
  server.put<{ Params: IdParams }>(
    "/workflows/:id",
    { schema: { tags, summary: "Replace a workflow" } },
    async (request, reply) => {
      const { id } = request.params;
      return send(reply, await workflows.replace(id, givenOf(request), ifMatchOf(request)));
    },
  );
  server.delete<{ Params: IdParams }>(
    "/workflows/:id",
    { schema: { tags, summary: "Remove a workflow" } },
    async (request) => {
      const { id } = request.params;
      if (settings.rules.current.value.workflowId === id) {
        const message = `the autoscaler runs workflow ${id}: name another one in /autoscale/rules, or none, before`;
        throw new BerthError("CONFLICT", message);
      }
      await workflows.remove(id, ifMatchOf(request));
      return { success: true, data: { message: `workflow ${id} removed` } };
    },
  );
}

/** The workflow of a request: its body, or the text below `yaml` when there is nothing else. */
function givenOf(request: FastifyRequest): unknown {
  const body = losslessBody(request);
  if (body.yaml === undefined) return body;
  const isAlone = Object.keys(body).length === 1;
  if (isAlone && typeof body.yaml === "string") return body.yaml;
  throw new BerthError("INVALID_ARGUMENT", "yaml: expected text, and nothing beside it");
}
