import { bodyObject, parseLossless } from "@berth/service-kit";
import type { FastifyRequest } from "fastify";

/**
 * The body as a JSON object whose numbers stay as the client wrote them; INVALID_ARGUMENT when it is missing
 * or of another type.
 */
export function losslessBody(request: FastifyRequest): Record<string, unknown> {
  bodyObject(request);
  return parseLossless(request.bodyText) as Record<string, unknown>;
}
