import { bodyObject, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import { readName } from "../../autoscaler/scaling/approvals.ts";
import { type ScaleState, scaleRequestDocument } from "../../autoscaler/scaling/scale-request.ts";
import { MAX_REPLICAS, readReplicas } from "../../org/quotas/replica-count.ts";
import { readSubjectId } from "../../org/subjects/subject.ts";
import { goneSignal } from "./agent-reply.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";
import { readWhole } from "./query-parameters.ts";

const STATES = [
  ...(["awaiting_approval", "pending", "dispatched", "confirmed"] as const),
  ...(["partial", "failed", "superseded", "rejected"] as const),
] satisfies readonly ScaleState[];

const ListParameters = Type.Object(
  {
    subject_id: Type.Optional(Type.String()),
    quota_id: Type.Optional(Type.String()),
    state: Type.Optional(Type.Union(STATES.map((state) => Type.Literal(state)))),
    limit: FleetLimitParameter,
  },
  { additionalProperties: false },
);
const AskedBody = Type.Object(
  {
    subject_id: Type.String(),
    quota_id: Type.Optional(Type.String()),
    replica_count: Type.Union([Type.String(), Type.Integer()]),
    reason: Type.Optional(Type.String({ maxLength: 1_000 })),
    wait: Type.Optional(Type.Boolean()),
    timeout_ms: Type.Optional(Type.Number({ minimum: 0, maximum: 600_000 })),
  },
  { additionalProperties: false },
);

const SaidBody = Type.Object(
  { by: Type.Optional(Type.String({ description: "who says so" })) },
  { additionalProperties: false },
);

const ConfirmBody = Type.Object({
  status: Type.Optional(
    Type.String({ description: "allocated by default; failed, error or rejected" }),
  ),
  replicas: Type.Optional(
    Type.Integer({ minimum: 0, maximum: MAX_REPLICAS, description: "what there are now" }),
  ),
  message: Type.Optional(Type.String({ maxLength: 1_000 })),
});

const OneParameters = Type.Object(
  { timeout_ms: Type.Optional(Type.String({ description: "0 to 600000, 0 by default" })) },
  { additionalProperties: false },
);

const DEFAULT_TIMEOUT_MS = 30_000;
const WAIT_MS = { least: 0, most: 600_000, byDefault: 0 } as const;

interface UuidParams {
  readonly uuid: string;
}

/** `/autoscale/requests`: requests to scale, what became of them, and a human's word on those that wait for it. */
export function scaleRoutes(server: FastifyInstance, autoscaler: Autoscaler): void {
  const { scale, scaler } = autoscaler;
  const tags = ["autoscaler"];
  server.get(
    "/autoscale/requests",
    { schema: { tags, querystring: ListParameters, summary: "Requests to scale, newest first" } },
    async (request, reply) => {
      const query = parse(ListParameters, request.query);
      const { subject_id: subjectId, quota_id: quotaId, state, limit } = query;
      const found = scale
        .all()
        .filter((one) => subjectId === undefined || one.subjectId === subjectId)
        .filter((one) => quotaId === undefined || one.quotaId === quotaId)
        .filter((one) => state === undefined || one.state === state);
      return sendListed(reply, found.map(scaleRequestDocument), limit);
    },
  );
  server.get<{ Params: UuidParams }>(
    "/autoscale/requests/:uuid",
    {
      schema: {
        tags,
        querystring: OneParameters,
        summary: "One request to scale; with timeout_ms when it is over, or after that time",
      },
    },
    async (request, reply) => {
      const { timeout_ms: text } = parse(OneParameters, request.query);
      const timeoutMs = readWhole("timeout_ms", text, WAIT_MS);
      const limits = { timeoutMs, signal: goneSignal(request, reply) };
      const end = await scaler.wait(request.params.uuid, limits);
      return { success: true, data: scaleRequestDocument(end.request) };
    },
  );
  server.post(
    "/autoscale/requests",
    { schema: { tags, body: AskedBody, summary: "Scale a subject; waits until it is confirmed" } },
    async (request, reply) => {
      const body = parse(AskedBody, bodyObject(request));
      const asked = {
        subjectId: readSubjectId("subject_id", body.subject_id),
        quotaId: body.quota_id,
        replicas: readReplicas("replica_count", body.replica_count),
        origin: "adhoc" as const,
        reason: body.reason ?? "asked for by REST",
      };
      const timeoutMs = body.wait === false ? 0 : (body.timeout_ms ?? DEFAULT_TIMEOUT_MS);
      const limits = { timeoutMs, signal: goneSignal(request, reply) };
      const end = await scaler.scaleAndWait(asked, limits);
      if (end.kind === "waiting") reply.code(202);
      return { success: true, data: scaleRequestDocument(end.request) };
    },
  );
  saidRoutes(server, autoscaler);
}

/** What others say of a request: its allocator, or a human. */
function saidRoutes(server: FastifyInstance, { scaling, scaler, confirm }: Autoscaler): void {
  const tags = ["autoscaler"];
  server.post<{ Params: UuidParams }>(
    "/autoscale/requests/:uuid/confirm",
    {
      schema: {
        tags,
        body: ConfirmBody,
        summary: "What became of a request, for an allocator that has no bus",
      },
    },
    async (request, reply) => {
      const { uuid } = request.params;
      const response = parse(ConfirmBody, bodyObject(request));
      // NOT_FOUND for who waits for nothing; what is over stays as it is, as with a confirmation on the bus.
      await scaler.wait(uuid, { timeoutMs: 0, signal: goneSignal(request, reply) });
      await confirm(uuid, response);
      return reply.code(202).send({ success: true, data: { uuid } });
    },
  );
  for (const verb of ["approve", "reject"] as const) {
    server.post<{ Params: UuidParams }>(
      `/autoscale/requests/:uuid/${verb}`,
      { schema: { tags, body: SaidBody, summary: `${verb} a request that waits for a human` } },
      async (request) => {
        const said = request.body === undefined ? {} : parse(SaidBody, bodyObject(request));
        const by = said.by === undefined ? "a client of REST" : readName("by", said.by);
        const decided = await scaling.decide(request.params.uuid, verb === "approve", by);
        return { success: true, data: scaleRequestDocument(decided) };
      },
    );
  }
}
