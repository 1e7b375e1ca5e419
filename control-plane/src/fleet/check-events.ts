import type { Event } from "@berth/proto";
import { BerthError, isJsonObject, jsonDepth, MAX_JSON_DEPTH } from "@berth/service-kit";
import { LINK_EVENT_KINDS } from "./link-event.ts";

/** Most events of one message. */
const MAX_EVENTS = 1_000;
const MAX_FACTS_CHARACTERS = 64 * 1024;
const MAX_KEY_CHARACTERS = 512;
const EVENT_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const KIND = /^[a-z][a-z0-9_]{0,63}$/;
/** What an event is about: a word, or a word and an id: "outbox", "node/<node id>". */
const KEY = /^[a-z][a-z0-9_-]{0,63}(\/[!-~]+)?$/;
const OWN_KINDS: ReadonlySet<string> = new Set(LINK_EVENT_KINDS);

/** Whether events of a kind are told by the control-plane alone. */
export function isOwnKind(kind: string): boolean {
  return OWN_KINDS.has(kind);
}

/**
 * Checks the events of one message of an agent; INVALID_ARGUMENT names the bad field. What the
 * control-plane itself tells of a link cannot be told by an agent. An agent whose event is refused sends
 * it again and never gets on; agents of ours tell nothing that is refused here, so that only a foreign
 * one is kept out.
 */
export function checkEvents(events: readonly Event[]): void {
  if (events.length > MAX_EVENTS) refuse("events", `expected at most ${MAX_EVENTS}`);
  for (const [index, { eventId, kind, key, json }] of events.entries()) {
    const at = `events.${index}`;
    if (!EVENT_ID.test(eventId)) refuse(`${at}.event_id`, "expected a UUID");
    if (!KIND.test(kind)) refuse(`${at}.kind`, "expected 1-64 characters of [a-z0-9_]");
    if (isOwnKind(kind)) refuse(`${at}.kind`, `only the control-plane tells "${kind}"`);
    checkKey(key, `${at}.key`);
    checkFacts(json, `${at}.json`);
  }
}

function checkKey(key: string, field: string): void {
  if (key.length > MAX_KEY_CHARACTERS) {
    refuse(field, `expected at most ${MAX_KEY_CHARACTERS} characters`);
  }
  if (!KEY.test(key)) refuse(field, 'expected what the event is about, such as "node/<node id>"');
}

function checkFacts(json: string, field: string): void {
  if (json.length > MAX_FACTS_CHARACTERS) {
    refuse(field, `expected at most ${MAX_FACTS_CHARACTERS} characters`);
  }
  const facts = parsedOrUndefined(json);
  if (!isJsonObject(facts)) refuse(field, "expected a JSON object");
  // Whoever reads it back with its numbers as they were written recurses.
  if (jsonDepth(facts) > MAX_JSON_DEPTH) {
    refuse(field, `expected at most ${MAX_JSON_DEPTH} levels of arrays and objects`);
  }
}

function parsedOrUndefined(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function refuse(field: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`);
}
