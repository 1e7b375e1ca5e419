import type { FastifyInstance } from "fastify";
import { type Static, Type } from "typebox";
import { bodyObject } from "../http/server.ts";
import { parse } from "../validate.ts";
import type { Enrolment } from "./enrolment.ts";
import {
  MAX_LABEL_LENGTH,
  MAX_TOKEN_TTL_MS,
  MAX_TOKEN_USES,
  type TokenRecord,
} from "./token-record.ts";

/** What {@link addTokenRoutes} needs. */
export interface TokenRoutesDeps {
  readonly enrolment: Enrolment;
  /** Name of the subject's field: "cluster_id" on the control-plane, "node_id" on a cluster-agent. */
  readonly subjectField: "cluster_id" | "node_id";
  /** Port that the agents dial, told with a new token as `agent_port`. */
  readonly agentPort?: number;
}

const SUBJECT_ID_PATTERN = "^[a-zA-Z0-9._-]{1,253}$";
const MS_PER_S = 1_000;

/**
 * The enrolment tokens of a program: `POST /tokens` answers with the token's text, the only time that
 * it is shown; `GET /tokens` and `DELETE /tokens/:id`. Bad input names the field.
 */
export function addTokenRoutes(server: FastifyInstance, deps: TokenRoutesDeps): void {
  const { enrolment, subjectField } = deps;
  const tags = ["tokens"];
  const TokenBody = Type.Object(
    {
      [subjectField]: Type.Optional(Type.String({ pattern: SUBJECT_ID_PATTERN })),
      ttl_s: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_TOKEN_TTL_MS / MS_PER_S })),
      max_uses: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_TOKEN_USES })),
      label: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_LABEL_LENGTH })),
    },
    { additionalProperties: false },
  );
  const shown = (record: TokenRecord) => toDocument(record, subjectField);

  server.post("/tokens", { schema: { tags, body: TokenBody } }, async (request, reply) => {
    const body = parse(TokenBody, bodyObject(request)) as Static<typeof TokenFields>;
    const subjectId = body[subjectField];
    const { token, record } = await enrolment.createToken({
      ...(subjectId === undefined ? {} : { subjectId }),
      ...(body.ttl_s === undefined ? {} : { ttlMs: body.ttl_s * MS_PER_S }),
      ...(body.max_uses === undefined ? {} : { maxUses: body.max_uses }),
      ...(body.label === undefined ? {} : { label: body.label }),
    });
    reply.code(201);
    const port = deps.agentPort === undefined ? {} : { agent_port: deps.agentPort };
    return { success: true, data: { token, ...shown(record), ...port } };
  });

  server.get("/tokens", { schema: { tags } }, async () => {
    const records = await enrolment.listTokens();
    return { success: true, data: records.map(shown) };
  });

  server.delete<{ Params: { id: string } }>(
    "/tokens/:id",
    { schema: { tags } },
    async ({ params }) => {
      await enrolment.revokeToken(params.id);
      return { success: true, data: { id: params.id } };
    },
  );
}

const TokenFields = Type.Partial(
  Type.Object({
    cluster_id: Type.String(),
    node_id: Type.String(),
    ttl_s: Type.Integer(),
    max_uses: Type.Integer(),
    label: Type.String(),
  }),
);

/** A token as the API shows it. */
function toDocument(record: TokenRecord, subjectField: TokenRoutesDeps["subjectField"]) {
  return {
    id: record.id,
    [subjectField]: record.subjectId ?? null,
    label: record.label ?? null,
    max_uses: record.maxUses,
    uses: record.uses,
    created_at: record.createdAt,
    expires_at: record.expiresAt,
  };
}
