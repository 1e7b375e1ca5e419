import { bodyObject, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import type { Evaluation } from "../../autoscaler/evaluation/evaluation-record.ts";
import { sendListed } from "./listed.ts";
import { LimitParameter, readLimit } from "./query-parameters.ts";

const KINDS = ["keep", "change", "needs_approval", "shadow", "refused"] as const;

const DecisionParameters = Type.Object(
  {
    subject_id: Type.Optional(Type.String()),
    evaluation_id: Type.Optional(Type.String()),
    kind: Type.Optional(Type.Union(KINDS.map((kind) => Type.Literal(kind)))),
    limit: LimitParameter,
  },
  { additionalProperties: false },
);
const ListParameters = Type.Object({ limit: LimitParameter }, { additionalProperties: false });
const EvaluateBody = Type.Object(
  { shadow: Type.Optional(Type.Boolean({ description: "ask for nothing" })) },
  { additionalProperties: false },
);

interface IdParams {
  readonly id: string;
}

/** What the autoscaler decided and why: `/autoscale/decisions`, `/autoscale/evaluations`, and one made now. */
export function evaluationRoutes(server: FastifyInstance, { timer, log }: Autoscaler): void {
  const tags = ["autoscaler"];
  server.get(
    "/autoscale/decisions",
    {
      schema: {
        tags,
        querystring: DecisionParameters,
        summary: "What was decided about subjects and why, the newest first; no change included",
      },
    },
    async (request, reply) => {
      const query = parse(DecisionParameters, request.query);
      const { subject_id: subjectId, evaluation_id: evaluationId, kind, limit } = query;
      const asked = { subjectId, evaluationId, kind, limit: readLimit(limit) };
      return sendListed(reply, await log.decisions(asked), undefined);
    },
  );
  server.get(
    "/autoscale/evaluations",
    { schema: { tags, querystring: ListParameters, summary: "Evaluations, the newest first" } },
    async (request, reply) => {
      const { limit } = parse(ListParameters, request.query);
      return sendListed(reply, log.list(), String(readLimit(limit)));
    },
  );
  server.get<{ Params: IdParams }>(
    "/autoscale/evaluations/:id",
    { schema: { tags, summary: "One evaluation with its decisions" } },
    async ({ params }) => ({ success: true, data: evaluationDocument(await log.get(params.id)) }),
  );
  server.get<{ Params: IdParams }>(
    "/autoscale/evaluations/:id/report",
    { schema: { tags, summary: "The report that an evaluation looked at" } },
    async ({ params }, reply) => {
      await log.get(params.id);
      const text = await log.reportOf(params.id);
      return reply.type("application/json").send(`{"success":true,"data":${text ?? "null"}}`);
    },
  );
  server.post(
    "/autoscale/evaluate",
    { schema: { tags, body: EvaluateBody, summary: "Evaluate now; gives what was decided" } },
    async (request) => {
      const body = request.body === undefined ? {} : bodyObject(request);
      const { shadow = false } = parse(EvaluateBody, body);
      return { success: true, data: evaluationDocument(await timer.evaluateNow(shadow)) };
    },
  );
}

/** An evaluation as clients read it: `subjects` are its decisions. */
function evaluationDocument({ summary, decisions }: Evaluation): Record<string, unknown> {
  return { ...summary, subjects: decisions };
}
