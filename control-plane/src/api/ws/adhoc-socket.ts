import {
  BerthError,
  type HttpTraffic,
  isJsonObject,
  type Logger,
  parseClientJson,
  toBerthError,
  toErrorBody,
} from "@berth/service-kit";
import type { Scaler } from "../../autoscaler/scaling/scaler.ts";
import { readReplicas } from "../../org/quotas/replica-count.ts";
import { readSubjectId } from "../../org/subjects/subject.ts";
import { Inbox } from "./inbox.ts";
import { type FrameTaker, sendFrame } from "./send-frame.ts";

/** What {@link serveAdhocSocket} answers with. */
export interface AdhocSocketDeps {
  readonly scaler: Pick<Scaler, "scaleAndWait">;
  readonly logger: Logger;
}

/** A message of a client: the seed's two fields, and how it wants to be answered. */
interface AdhocMessage {
  readonly subjectId: string;
  readonly quotaId: string | undefined;
  readonly replicas: number;
  readonly timeoutMs: number;
  readonly keepOpen: boolean;
  readonly requestId: unknown;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_TIMEOUT_MS = 600_000;
/** What is said when nothing was confirmed in time (seed org-resource-manager). */
const TIMED_OUT = "Timeout waiting for response";
const NORMAL_CLOSURE = 1000;

/**
 * Serves ad-hoc scaling on one WebSocket: `{"subject_id", "replica_count"}` is answered by `{"success": true, "response": <the
 * confirmation>}` when it is confirmed, and the socket is closed, unless `keep_open` is true in the message, or the URL (`staysOpen`). An answer
 * that does not come in time cancels nothing: `uuid` tells the request later. A client that leaves is not waited for.
 */
export function serveAdhocSocket(
  taker: FrameTaker & { readonly traffic: HttpTraffic },
  staysOpen: boolean,
  { scaler, logger }: AdhocSocketDeps,
): void {
  const { socket, traffic } = taker;
  const closed = new AbortController();
  const answer = async (text: string, refusal: BerthError | undefined): Promise<void> => {
    const { body, keepOpen } = await answered(text, refusal);
    await sendFrame(taker, Buffer.from(JSON.stringify(body)));
    if (!keepOpen && !staysOpen) socket.close(NORMAL_CLOSURE);
  };
  const answered = async (text: string, refusal: BerthError | undefined) => {
    let message: AdhocMessage | undefined;
    try {
      if (refusal !== undefined) throw refusal;
      message = readAdhoc(text);
      const body = await reply(message, scaler, closed.signal);
      return { body: withId(body, message), keepOpen: message.keepOpen };
    } catch (thrown) {
      const isFault = toBerthError(thrown).reason === "INTERNAL";
      if (isFault) logger.error("ad-hoc scaling failed", { err: thrown });
      return { body: withId(toErrorBody(thrown), message), keepOpen: message?.keepOpen ?? false };
    }
  };
  new Inbox(socket, traffic.requests, () => {
    return (message, refusal) => answer(message.toString("utf8"), refusal);
  });
  socket.on("close", () => {
    closed.abort();
    traffic.replies.forget(socket);
  });
}

function withId(body: object, message: AdhocMessage | undefined): object {
  const { requestId } = message ?? {};
  return requestId === undefined ? body : { ...body, request_id: requestId };
}

async function reply(
  { subjectId, quotaId, replicas, timeoutMs }: AdhocMessage,
  scaler: AdhocSocketDeps["scaler"],
  signal: AbortSignal,
): Promise<object> {
  const asked = {
    subjectId,
    quotaId,
    replicas,
    origin: "adhoc",
    reason: "asked for ad hoc",
  } as const;
  const end = await scaler.scaleAndWait(asked, { timeoutMs, signal });
  const { uuid } = end.request;
  if (end.kind === "waiting") return { success: false, error: TIMED_OUT, uuid };
  const { state, response } = end.request;
  if (end.message !== undefined && state !== "failed") {
    return { success: true, response: end.message };
  }
  const error = response?.message ?? `the request is ${state}`;
  return {
    success: false,
    error,
    uuid,
    ...(end.message === undefined ? {} : { response: end.message }),
  };
}

/** Reads a message. INVALID_ARGUMENT names the field. */
function readAdhoc(text: string): AdhocMessage {
  const body = parseClientJson(text);
  if (!isJsonObject(body)) throw invalid("the message: expected an object");
  const {
    quota_id: quotaId,
    timeout_ms: timeoutMs = DEFAULT_TIMEOUT_MS,
    keep_open: open = false,
  } = body;
  if (quotaId !== undefined && (typeof quotaId !== "string" || quotaId === "")) {
    throw invalid("quota_id: expected the id of a quota");
  }
  if (typeof timeoutMs !== "number" || !(timeoutMs >= 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw invalid(`timeout_ms: expected a number of ms from 0 to ${MAX_TIMEOUT_MS}`);
  }
  if (typeof open !== "boolean") throw invalid("keep_open: expected true or false");
  if (body.replica_count === undefined) throw invalid("replica_count: required field is missing");
  return {
    subjectId: readSubjectId("subject_id", body.subject_id),
    replicas: readReplicas("replica_count", body.replica_count),
    ...{ quotaId, timeoutMs, keepOpen: open, requestId: body.request_id },
  };
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
