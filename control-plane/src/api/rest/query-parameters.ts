import { BerthError } from "@berth/service-kit";
import type { FastifyReply } from "fastify";
import { Type } from "typebox";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

/** Schema of `limit`, which {@link readLimit} reads. */
export const LimitParameter = Type.Optional(
  Type.String({ pattern: "^[0-9]{1,4}$", description: "1 to 1000, 100 by default" }),
);

/** Reads a number of a URL's parameter that has one by default. INVALID_ARGUMENT names the parameter and the range. */
export function readWhole(
  name: string,
  text: string | undefined,
  { least, most, byDefault }: { least: number; most: number; byDefault: number },
): number {
  if (text === undefined) return byDefault;
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  const message = `${name}: expected a whole number from ${least} to ${most}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** Reads `limit`: 100 by default, 1 to 1,000. */
export function readLimit(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LIMIT;
  const limit = Number(text);
  if (limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new BerthError("INVALID_ARGUMENT", `limit: expected a whole number from 1 to ${MAX_LIMIT}`);
}

/** Answers with the envelope; numbers that were kept as text go out as they came. */
export function sendData(reply: FastifyReply, data: unknown): FastifyReply {
  return reply.type("application/json").send(JSON.stringify({ success: true, data }));
}
