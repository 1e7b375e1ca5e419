import type { FastifyReply } from "fastify";
import { Type } from "typebox";
import { pacedJson } from "./paced-json.ts";
import { readWhole } from "./query-parameters.ts";

const LIMITS = { least: 1, most: 100_000, byDefault: 10_000 } as const;

/** Schema of `limit` of lists over the whole fleet. */
export const FleetLimitParameter = Type.Optional(
  Type.String({ description: "1 to 100000, 10000 by default" }),
);

/**
 * Answers with the first items of a list; `more` says how many there are beside them, if any, `warnings` what is wrong with
 * it.
 */
export async function sendListed(
  reply: FastifyReply,
  items: readonly unknown[],
  limit: string | undefined,
  warnings: readonly string[] = [],
): Promise<FastifyReply> {
  const most = readWhole("limit", limit, LIMITS);
  const data = await pacedJson(items.slice(0, most));
  const more = items.length > most ? `,"more":${items.length - most}` : "";
  const told = warnings.length === 0 ? "" : `,"warnings":${JSON.stringify(warnings)}`;
  return reply.type("application/json").send(`{"success":true,"data":${data}${more}${told}}`);
}
