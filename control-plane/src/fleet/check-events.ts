import type { Event } from "@berth/proto";
import { BerthError, isJsonObject } from "@berth/service-kit";

/** Most events of one message. */
const MAX_EVENTS = 1_000;
const MAX_FACTS_CHARACTERS = 64 * 1024;
const MAX_KEY_CHARACTERS = 512;
const EVENT_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const KIND = /^[a-z][a-z0-9_]{0,63}$/;

/** Checks the events of one message of an agent; INVALID_ARGUMENT names the bad field. */
export function checkEvents(events: readonly Event[]): void {
  if (events.length > MAX_EVENTS) refuse("events", `expected at most ${MAX_EVENTS}`);
  for (const [index, { eventId, kind, key, json }] of events.entries()) {
    const at = `events.${index}`;
    if (!EVENT_ID.test(eventId)) refuse(`${at}.event_id`, "expected a UUID");
    if (!KIND.test(kind)) refuse(`${at}.kind`, "expected 1-64 characters of [a-z0-9_]");
    if (key.length > MAX_KEY_CHARACTERS) {
      refuse(`${at}.key`, `expected at most ${MAX_KEY_CHARACTERS} characters`);
    }
    if (json.length > MAX_FACTS_CHARACTERS) {
      refuse(`${at}.json`, `expected at most ${MAX_FACTS_CHARACTERS} characters`);
    }
    if (!isObjectText(json)) refuse(`${at}.json`, "expected a JSON object");
  }
}

function isObjectText(json: string): boolean {
  try {
    return isJsonObject(JSON.parse(json));
  } catch {
    return false;
  }
}

function refuse(field: string, why: string): never {
  throw new BerthError("INVALID_ARGUMENT", `${field}: ${why}`);
}
