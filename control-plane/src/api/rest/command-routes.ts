import { BerthError, bodyObject, parse, parseLossless } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import {
  COMMAND_STATES,
  type CommandOutcome,
  type CommandRecord,
  type Order,
  reasonOf,
} from "../../fleet/command-record.ts";
import type { Commands } from "../../fleet/commands.ts";
import { LimitParameter, readLimit, sendData } from "./query-parameters.ts";

const MAX_TEXT_BYTES = 1_024;
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 600_000;
const MAX_HOLD_MS = 60_000;

/** Body of `POST /clusters/<id>/ping`. */
const PingBody = Type.Object(
  {
    text: Type.Optional(Type.String()),
    timeout_ms: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_TIMEOUT_MS })),
    hold_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_HOLD_MS })),
  },
  { additionalProperties: false },
);

const CommandParameters = Type.Object(
  {
    cluster_id: Type.Optional(Type.String()),
    state: Type.Optional(Type.Union(COMMAND_STATES.map((state) => Type.Literal(state)))),
    limit: LimitParameter,
  },
  { additionalProperties: false },
);

interface IdParams {
  readonly id: string;
}

/** `POST /clusters/<id>/ping` gives an agent an order and waits; `/commands` shows what was given. */
export function commandRoutes(server: FastifyInstance, commands: Commands): void {
  const tags = ["commands"];
  server.post<{ Params: IdParams }>(
    "/clusters/:id/ping",
    { schema: { tags, body: PingBody, summary: "Ask a cluster's agent to answer, exactly once" } },
    async (request, reply) => {
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const body = parse(PingBody, request.body === undefined ? {} : bodyObject(request));
      const {
        text = "ping",
        timeout_ms: timeoutMs = DEFAULT_TIMEOUT_MS,
        hold_ms: holdMs = 0,
      } = body;
      if (Buffer.byteLength(text) > MAX_TEXT_BYTES) {
        throw new BerthError("INVALID_ARGUMENT", `text: expected at most ${MAX_TEXT_BYTES} bytes`);
      }
      const begunAtMs = performance.now();
      const options = { timeoutMs, signal: gone.signal };
      const outcome = await commands.send(
        request.params.id,
        { kind: "echo", text, holdMs },
        options,
      );
      const { commandId, resultJson } = requireResult(outcome, request.params.id, timeoutMs);
      const round = Math.round((performance.now() - begunAtMs) * 1_000) / 1_000;
      const data = { command_id: commandId, result: parseLossless(resultJson) };
      return sendData(reply, { ...data, round_trip_ms: round });
    },
  );
  server.get<{ Params: IdParams }>(
    "/commands/:id",
    { schema: { tags, summary: "One command and what came of it" } },
    async (request, reply) => sendData(reply, toWire(await commands.get(request.params.id))),
  );
  server.get(
    "/commands",
    { schema: { tags, querystring: CommandParameters, summary: "Commands, newest first" } },
    async (request, reply) => {
      const query = parse(CommandParameters, request.query);
      const { cluster_id: clusterId, state } = query;
      const limit = readLimit(query.limit);
      const records = await commands.list({ clusterId, state, limit });
      return sendData(reply, records.map(toWire));
    },
  );
}

function requireResult(outcome: CommandOutcome, clusterId: string, timeoutMs: number) {
  if (outcome.kind === "completed") return outcome;
  const details = { command_id: outcome.commandId, cluster_id: clusterId };
  if (outcome.kind === "refused") {
    const message = `cluster ${clusterId} refused: ${outcome.message}`;
    throw new BerthError(reasonOf(outcome.reason), message, { details });
  }
  if (outcome.kind === "expired") {
    const message = `cluster ${clusterId} did not answer within ${timeoutMs} ms`;
    throw new BerthError("DEADLINE_EXCEEDED", message, { details });
  }
  const message = `nobody waited for the answer of cluster ${clusterId}; the command stays valid until its deadline`;
  throw new BerthError("CANCELED", message, { details });
}

/** Bodies of requests may hold secrets: their size is shown. */
function orderToWire(order: Order): Record<string, unknown> {
  if (order.kind === "echo") return { kind: "echo", text: order.text, hold_ms: order.holdMs };
  const { kind, method, path, bodyBytes } = order;
  return { kind, method, path, body_bytes: bodyBytes };
}

function toWire(record: CommandRecord): Record<string, unknown> {
  const { answer, order } = record;
  return {
    command_id: record.commandId,
    cluster_id: record.clusterId,
    order: orderToWire(order),
    state: record.state,
    timeout_ms: record.timeoutMs,
    created_at: record.createdAt,
    deadline_at: record.deadlineAt,
    finished_at: record.finishedAt ?? null,
    late: record.isLate ?? false,
    result: answer?.kind === "completed" ? parseLossless(answer.resultJson) : null,
    ledger_revision: answer?.kind === "completed" ? answer.ledgerRevision : null,
    refusal: answer?.kind === "refused" ? { reason: answer.reason, message: answer.message } : null,
  };
}
