import { BerthError, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { DecisionLog } from "../../allocation/decisions/decision-log.ts";

const MAX_LIMIT = 1_000;
const DEFAULT_LIMIT = 50;

const DECISION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const DecisionParameters = Type.Object(
  {
    policy: Type.Optional(Type.String({ description: "policy_rule_uri" })),
    cluster: Type.Optional(Type.String({ description: "cluster that was chosen" })),
    outcome: Type.Optional(
      Type.Union([Type.Literal("placed"), Type.Literal("unschedulable"), Type.Literal("failed")]),
    ),
    before: Type.Optional(Type.String({ description: "decision id that the page ends before" })),
    limit: Type.Optional(Type.String({ pattern: "^[0-9]{1,4}$" })),
  },
  { additionalProperties: false },
);

/** `GET /decisions/<id>` and `GET /decisions?…`: why each allocation came out as it did. */
export function decisionRoutes(
  server: FastifyInstance,
  decisions: Pick<DecisionLog, "get" | "list">,
): void {
  const tags = ["allocation"];
  server.get(
    "/decisions",
    { schema: { tags, summary: "Decisions, newest first", querystring: DecisionParameters } },
    async (request, reply) => {
      const { policy, cluster, outcome, before, limit } = parse(DecisionParameters, request.query);
      const query = {
        ...(policy === undefined ? {} : { policyRuleUri: policy }),
        ...(cluster === undefined ? {} : { clusterId: cluster }),
        ...(outcome === undefined ? {} : { outcome }),
        ...(before === undefined ? {} : { before: decisionId(before) }),
        limit: limitOf(limit),
      };
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort(new BerthError("CANCELED", "the client has gone")));
      const page = await decisions.list(request.principal.orgId, query, gone.signal);
      const next = page.next === undefined ? "" : `,"next":${JSON.stringify(page.next)}`;
      const json = `{"success":true,"data":[${page.decisions.join(",")}]${next}}`;
      return reply.type("application/json").send(json);
    },
  );
  server.get<{ Params: { id: string } }>(
    "/decisions/:id",
    { schema: { tags, summary: "One decision" } },
    async (request) => {
      const { id } = request.params;
      const decision = await decisions.get(request.principal.orgId, id);
      if (decision !== undefined) return { success: true, data: decision };
      const message = `there is no decision ${id}; the oldest ones are forgotten`;
      throw new BerthError("NOT_FOUND", message);
    },
  );
}

function decisionId(before: string): string {
  if (DECISION_ID.test(before)) return before;
  const got = JSON.stringify(before.slice(0, 60));
  throw new BerthError("INVALID_ARGUMENT", `before: expected a decision id, got ${got}`);
}

function limitOf(text: string | undefined): number {
  const limit = text === undefined ? DEFAULT_LIMIT : Number(text);
  if (limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new BerthError("INVALID_ARGUMENT", `limit: expected 1 to ${MAX_LIMIT}, got ${limit}`);
}
