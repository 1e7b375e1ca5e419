import { BerthError, type Logger, takeBody, toBerthError, toErrorBody } from "@berth/service-kit";
import type { FastifyInstance, FastifyRequest } from "fastify";
import {
  AllocationBody,
  type AllocationFrame,
  readParsedFrame,
} from "../../allocation/allocation-request.ts";
import { type AllocationAnswerDeps, allocationAnswer } from "../allocation-answer.ts";

/** What {@link allocateRoutes} needs. */
export interface AllocateRoutesDeps extends AllocationAnswerDeps {
  readonly logger: Logger;
}

/** `POST /allocate`: the HTTP twin of the allocator's WebSocket. */
export function allocateRoutes(server: FastifyInstance, deps: AllocateRoutesDeps): void {
  const schema = {
    tags: ["allocation"],
    body: AllocationBody,
    summary: "Place work: a policy picks cluster, node and GPUs",
  };
  server.post("/allocate", { schema }, async (request, reply) => {
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const frame = takeFrame(request);
    const asked = { principal: request.principal, signal: gone.signal };
    const answer = await allocationAnswer(frame, deps, asked)
      .then((body) => ({ status: 200, body }))
      .catch((thrown: unknown) => failed(thrown, deps.logger));
    reply.status(answer.status).type("application/json");
    // fastify's serializer does not know raw numbers; JSON.stringify writes them as they came.
    return reply.send(JSON.stringify(withRequestId(answer.body, frame)));
  });
}

/** Not in the handler itself, which would keep the whole body for as long as the policy takes. */
function takeFrame(request: FastifyRequest): AllocationFrame {
  const { text, body } = takeBody(request);
  if (text !== "") return readParsedFrame(text, body);
  const message = "the request body: expected a JSON object, got nothing";
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** Failures echo the request's id like answers do, which the server's own error handler does not know. */
function failed(thrown: unknown, logger: Logger): { status: number; body: object } {
  const status = toBerthError(thrown).httpStatus;
  if (status >= 500) logger.error("allocation failed", { err: thrown });
  return { status, body: toErrorBody(thrown) };
}

function withRequestId(body: object, { requestId }: AllocationFrame): object {
  return requestId === undefined ? body : { ...body, request_id: requestId };
}
