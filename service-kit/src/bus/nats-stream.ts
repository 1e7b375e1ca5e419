import type { JetStreamClient, JetStreamManager, NatsConnection, StreamConfig } from "nats";
import { isJsonObject } from "../json.ts";
import type { Logger } from "../log.ts";
import { covers } from "./subjects.ts";

const DAY_NS = 24 * 3_600 * 1e9;
const API_TIMEOUT_MS = 2_000;
const NOT_FOUND = "404";
/** What JetStream says of a message that is larger than the stream's max_msg_size (server/errors.json of nats-server). */
const TOO_LARGE = 10054;

/** Which stream keeps the messages. */
export interface StreamPlan {
  /** Letters, digits, `-` and `_`. */
  readonly name: string;
  /** What it keeps, with wildcards. */
  readonly subjects: readonly string[];
}

/** JetStream of one connection, with the stream there. */
export interface JetStream {
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly stream: StreamPlan;
}

/** What became of the stream. */
export type StreamOutcome =
  | { readonly kind: "ready"; readonly jetStream: JetStream }
  | { readonly kind: "missing"; readonly why: string };

/**
 * Makes the stream or brings it to what is wanted. "missing" when the server has no JetStream, the user no
 * right, or the stream cannot take the subjects. Never rejects.
 */
export async function openStream(
  connection: NatsConnection,
  plan: StreamPlan,
  logger: Logger,
): Promise<StreamOutcome> {
  if (connection.info?.jetstream !== true) {
    return { kind: "missing", why: "the server has no JetStream; messages are not kept" };
  }
  try {
    const manager = await connection.jetstreamManager({ timeout: API_TIMEOUT_MS });
    const subjects = await bringUp(manager, plan, logger);
    const left = plan.subjects.find((one) => !subjects.some((kept) => covers(kept, one)));
    if (left !== undefined) {
      return { kind: "missing", why: `the stream ${plan.name} does not keep ${left}` };
    }
    const client = connection.jetstream({ timeout: API_TIMEOUT_MS });
    return { kind: "ready", jetStream: { client, manager, stream: plan } };
  } catch (thrown) {
    return { kind: "missing", why: `JetStream cannot be used: ${textOf(thrown)}` };
  }
}

/** Whether JetStream said that the consumer or stream is not there. */
export function isNotThere(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === NOT_FOUND;
}

/** Whether the server, or the stream, takes no message that is so large. */
export function isTooLarge(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  const { code, api_error: api } = thrown as {
    readonly code?: unknown;
    readonly api_error?: unknown;
  };
  return code === "MAX_PAYLOAD_EXCEEDED" || (isJsonObject(api) && api.err_code === TOO_LARGE);
}

/** Message of anything thrown. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Gives the subjects that the stream has then. */
async function bringUp(
  manager: JetStreamManager,
  plan: StreamPlan,
  logger: Logger,
): Promise<readonly string[]> {
  const wanted = {
    subjects: [...plan.subjects],
    max_age: 7 * DAY_NS,
    max_bytes: 1024 ** 3,
    duplicate_window: 120 * 1e9,
  };
  const found = await configOf(manager, plan.name);
  if (found === undefined) {
    // The driver's enums are values of the lazily loaded package; these are their texts.
    const storage = "file" as StreamConfig["storage"];
    const made = await manager.streams.add({ ...wanted, name: plan.name, storage });
    return made.config.subjects;
  }
  try {
    const made = await manager.streams.update(plan.name, { ...found, ...wanted });
    return made.config.subjects;
  } catch (thrown) {
    const fields = { stream: plan.name, why: textOf(thrown) };
    logger.warn("an older stream could not be changed and is used as it is", fields);
    return found.subjects;
  }
}

async function configOf(
  manager: JetStreamManager,
  name: string,
): Promise<StreamConfig | undefined> {
  try {
    return (await manager.streams.info(name)).config;
  } catch (thrown) {
    if (isNotThere(thrown)) return undefined;
    throw thrown;
  }
}
