import { BerthError } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { AllocationBody, readParsedFrame } from "../../allocation/allocation-request.ts";
import type { Allocator } from "../../allocation/allocator.ts";

/** `POST /allocate`: the HTTP twin of the allocator's WebSocket. */
export function allocateRoutes(server: FastifyInstance, allocator: Allocator): void {
  const schema = {
    tags: ["allocation"],
    body: AllocationBody,
    summary: "Place work: a policy picks cluster, node and GPUs",
  };
  server.post("/allocate", { schema }, async (request, reply) => {
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    if (request.bodyText === "") {
      const message = "the request body: expected a JSON object, got nothing";
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    const frame = readParsedFrame(request.bodyText, request.body);
    const answer = await allocator.allocate(request.principal, frame, gone.signal);
    const { requestId } = frame;
    const body = requestId === undefined ? answer : { ...answer, request_id: requestId };
    // fastify's serializer does not know raw numbers; JSON.stringify writes them as they came.
    return reply.type("application/json").send(JSON.stringify(body));
  });
}
