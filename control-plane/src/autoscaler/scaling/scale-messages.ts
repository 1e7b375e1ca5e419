import { createHash } from "node:crypto";
import { isJsonObject } from "@berth/service-kit";
import type { ScaleRequest, ScaleResponse } from "./scale-request.ts";

/** One message of the bus. */
export interface BusText {
  readonly subject: string;
  /** JSON text. */
  readonly text: string;
  /** The same when the same message is published again. */
  readonly id: string;
}

/** Where confirmations come: the seed's subject. */
export function confirmationSubject(orgId: string): string {
  return `${orgId}__alloc_response`;
}

/** All that Berth tells others of an org: `berth.<org>.>`. */
export function everySubject(orgId: string): string {
  return `berth.${subjectToken(orgId)}.>`;
}

/** Where a subject hears of its allocation: `berth.<org>.subject.<id>.allocation`. */
export function allocationSubject(orgId: string, subjectId: string): string {
  return `berth.${subjectToken(orgId)}.subject.${subjectToken(subjectId)}.allocation`;
}

/** Where requests are told that wait for a human's approval. */
export function approvalSubject(orgId: string): string {
  return `berth.${subjectToken(orgId)}.approvals`;
}

/** Where a human's answers to such requests are heard. */
export function approvalAnswerSubject(orgId: string): string {
  return `${approvalSubject(orgId)}.answers`;
}

/** Longest token of a subject. */
const MAX_TOKEN = 200;

/**
 * A text as one token of a subject: what may not stand in one is percent-encoded ("." as "%2E"); an empty text is "%00". One that
 * would be longer than 200 characters is "~" and the SHA-256 of the text in hex.
 */
export function subjectToken(text: string): string {
  const encoded = encodeURIComponent(text.toWellFormed()).replaceAll(
    /[.*>!'()~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
  if (encoded.length > MAX_TOKEN) return `~${createHash("sha256").update(text).digest("hex")}`;
  return encoded === "" ? "%00" : encoded;
}

/** The confirmation of a request, in the seed's shape: `{"uuid", "response": {"status", "replicas", …}}`. */
export function confirmationMessage(orgId: string, uuid: string, response: ScaleResponse): BusText {
  const text = JSON.stringify({ uuid, response });
  return { subject: confirmationSubject(orgId), text, id: `confirmation/${uuid}` };
}

/** What a subject is told of the end of a request. */
export function allocationMessage(orgId: string, request: ScaleRequest): BusText {
  const { uuid, subjectId, quotaId, generation, state, replicas, response, updatedAt } = request;
  const facts = {
    ...{ uuid, subject_id: subjectId, quota_id: quotaId, generation, state, replicas },
    ...{ response: response ?? null, at: updatedAt },
  };
  return {
    subject: allocationSubject(orgId, subjectId),
    text: JSON.stringify(facts),
    id: `allocation/${uuid}`,
  };
}

/** A confirmation as it came. */
export interface Confirmation {
  readonly uuid: string;
  readonly response: ScaleResponse;
  /** The whole message, as those who wait for it are told. */
  readonly message: Readonly<Record<string, unknown>>;
}

const MAX_REPLICAS = 100_000;
/** Of a response; what is told on has to fit into a message of the bus. */
const MAX_RESPONSE_BYTES = 400 * 1024;
const MAX_WORDS = 1_000;

/**
 * Reads a confirmation; why it is none otherwise. One that names its request and cannot be read beyond that says that the request has
 * failed: nobody would wait for another one.
 */
export function readConfirmation(
  text: string,
): Confirmation | { readonly kind: "unreadable"; readonly why: string } {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return unreadable("it is no JSON");
  }
  if (!isJsonObject(message)) return unreadable("expected an object");
  const { uuid, response } = message;
  if (typeof uuid !== "string" || uuid === "") return unreadable("uuid: expected text");
  const failed = (why: string) => ({ uuid, response: { status: "failed", message: why }, message });
  if (!isJsonObject(response)) return failed("response: expected an object");
  const { status = "allocated", replicas } = response;
  if (typeof status !== "string") return failed("response.status: expected text");
  const count =
    typeof replicas === "string" && /^\d{1,6}$/.test(replicas) ? Number(replicas) : replicas;
  const isNone = count === undefined || count === null;
  if (
    !isNone &&
    !(Number.isInteger(count) && Number(count) >= 0 && Number(count) <= MAX_REPLICAS)
  ) {
    return failed(`response.replicas: expected a whole number from 0 to ${MAX_REPLICAS}`);
  }
  const { replicas: _given, ...rest } = response;
  const known = { ...rest, status, ...(isNone ? {} : { replicas: Number(count) }) };
  return { uuid, response: bounded(known), message };
}

/** A message with nothing but the words that count in its response. */
export function shortened(message: BusText): BusText {
  const body: unknown = JSON.parse(message.text);
  if (!isJsonObject(body) || !isJsonObject(body.response)) return message;
  const response = wordsOf(body.response as ScaleResponse);
  return { ...message, text: JSON.stringify({ ...body, response }) };
}

/** A response as it is kept and told on: of one that is too long the words that count. */
function bounded(response: ScaleResponse): ScaleResponse {
  const isFit = Buffer.byteLength(JSON.stringify(response)) <= MAX_RESPONSE_BYTES;
  return isFit ? response : wordsOf(response);
}

function wordsOf({ status, replicas, message }: ScaleResponse): ScaleResponse {
  return {
    status: status.slice(0, MAX_WORDS),
    ...(replicas === undefined ? {} : { replicas }),
    ...(typeof message === "string" ? { message: message.slice(0, MAX_WORDS) } : {}),
  };
}

function unreadable(why: string) {
  return { kind: "unreadable", why } as const;
}
