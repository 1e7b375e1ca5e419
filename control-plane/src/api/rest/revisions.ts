import { BerthError } from "@berth/service-kit";
import type { FastifyReply, FastifyRequest } from "fastify";

/** A strong entity tag of a revision (RFC 9110 §8.8.3): `"3"`. */
export function sendRevision(reply: FastifyReply, revision: number): void {
  reply.header("etag", `"${revision}"`);
}

/**
 * The revision that `If-Match` asks for; undefined without the header, or when it is `*`. INVALID_ARGUMENT for anything but
 * one entity tag as {@link sendRevision} gives it.
 */
export function ifMatchOf({ headers }: FastifyRequest): number | undefined {
  const { "if-match": given } = headers;
  if (given === undefined || given.trim() === "*") return undefined;
  const revision = /^"(\d{1,15})"$/.exec(given.trim())?.[1];
  if (revision !== undefined) return Number(revision);
  throw new BerthError("INVALID_ARGUMENT", 'If-Match: expected the ETag of a revision, "3", or *');
}
