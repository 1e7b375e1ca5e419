import type { FastifyRequest } from "fastify";
import { parseLossless } from "../lossless-json.ts";
import { bodyObject } from "./server.ts";

/**
 * The body as a JSON object whose numbers stay as the client wrote them; INVALID_ARGUMENT when it is missing
 * or of another type.
 */
export function losslessBody(request: FastifyRequest): Record<string, unknown> {
  bodyObject(request);
  return parseLossless(request.bodyText) as Record<string, unknown>;
}
