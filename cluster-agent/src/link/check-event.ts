import { BerthError } from "@berth/service-kit";

const MAX_FACTS_CHARACTERS = 64 * 1024;
const MAX_KEY_CHARACTERS = 512;
const KIND = /^[a-z][a-z0-9_]{0,63}$/;

/** Something that happened on the cluster. */
export interface OutboxEvent {
  /** "node_joined", "node_telemetry_lost": 1-64 characters of [a-z0-9_]. */
  readonly kind: string;
  /** What it is about: "node/<node id>". */
  readonly key: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Refuses an event that the control-plane would not take, with INVALID_ARGUMENT; `json`: its facts as text. */
export function checkEvent({ kind, key }: OutboxEvent, json: string): void {
  const refuse = (why: string) => {
    throw new BerthError("INVALID_ARGUMENT", why);
  };
  if (!KIND.test(kind)) refuse("kind: expected 1-64 characters of [a-z0-9_]");
  if (key.length > MAX_KEY_CHARACTERS) {
    refuse(`key: expected at most ${MAX_KEY_CHARACTERS} characters`);
  }
  if (json.length > MAX_FACTS_CHARACTERS) {
    refuse(`facts: expected at most ${MAX_FACTS_CHARACTERS} characters of JSON`);
  }
}
