import { BerthError, sleep } from "@berth/service-kit";
import { type ApiRequest, callPlan } from "./call-plan.ts";
import type { OrderHandler, OrderOutcome } from "./order-handler.ts";

/** Largest answer that is carried, bytes. */
export const MAX_ANSWER_BYTES = 1024 * 1024;
/** Largest body of a request, bytes. */
export const MAX_CALL_BODY_BYTES = 1024 * 1024;
const UNAVAILABLE = 503;
/** How often, and how far apart, a request that goes on is made while it cannot be told what became of it. */
const RESUMED = { attempts: 240, apartMs: 250 } as const;
const MAX_PATH_CHARACTERS = 2_048;
const METHODS: readonly string[] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const PATH = /^\/(?!\/)[\x21-\x7e]*$/;

/** A request that is made in the name of a control-plane's store. */
export interface OrderedRequest extends ApiRequest {
  /** Store and term that gave the order. */
  readonly fence: { readonly storeId: string; readonly controllerTerm: string };
}

/** What the API answered. */
export interface ApiAnswer {
  readonly status: number;
  /** JSON text; empty without a body. */
  readonly bodyJson: string;
}

/** Asks the agent's own API; rejects when the signal is aborted. */
export type OwnApi = (request: OrderedRequest, signal: AbortSignal) => Promise<ApiAnswer>;

/**
 * Carries out a Call: asks the agent's own API and answers with its status and body, whose numbers stay as they are. One
 * that may not be done twice and was begun by a process that did not come to its answer is refused with CONFLICT; any
 * other one is made again then, for up to a minute while the answer is UNAVAILABLE: right after a start that says nothing of
 * whether it was done before.
 */
export function callHandler(api: OwnApi): OrderHandler {
  return async (order, { commandId, resumed, fence, timeLeftMs, signal }) => {
    if (order.case !== "call") return refusal("INVALID_ARGUMENT", "order: expected call");
    const { method, path, bodyJson } = order.value;
    const problem = callProblem(order.value);
    if (problem !== undefined) return refusal("INVALID_ARGUMENT", problem);
    const given = { method, path, ...(bodyJson === "" ? {} : { bodyJson }) };
    const { request, isRepeatable } = callPlan(given, { commandId, timeLeftMs });
    if (resumed && !isRepeatable) {
      const message = `${method} ${path} was begun by a process of the agent that ended before its answer, so nobody knows whether it ran; look, and give the order again`;
      return refusal("CONFLICT", message);
    }
    try {
      const asked = { ...request, fence };
      return outcomeOf(await (resumed ? insistently(api, asked, signal) : api(asked, signal)));
    } catch (thrown) {
      return cutOff(thrown, signal, `${method} ${path}`);
    }
  };
}

async function insistently(
  api: OwnApi,
  request: OrderedRequest,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await api(request, signal);
    if (answer.status !== UNAVAILABLE || attempt >= RESUMED.attempts) return answer;
    await sleep(RESUMED.apartMs, signal);
  }
}

/** What is told of a request that came to no answer. A stop of the agent leaves it to the next start. */
function cutOff(thrown: unknown, signal: AbortSignal, what: string): OrderOutcome {
  if (!signal.aborted) throw thrown;
  if (!isTimeOver(signal)) throw new BerthError("UNAVAILABLE", "the agent stops");
  const message = `timeout_ms: the time is over before ${what} was answered; what was begun may still come to its end`;
  return refusal("DEADLINE_EXCEEDED", message);
}

function callProblem(call: { method: string; path: string; bodyJson: string }): string | undefined {
  const { method, path, bodyJson } = call;
  if (!METHODS.includes(method)) return `call.method: expected one of ${METHODS.join(", ")}`;
  if (path.length > MAX_PATH_CHARACTERS || !PATH.test(path)) {
    return `call.path: expected "/…" of at most ${MAX_PATH_CHARACTERS} printable ASCII characters`;
  }
  if (Buffer.byteLength(bodyJson) <= MAX_CALL_BODY_BYTES) return undefined;
  return `call.body_json: expected at most ${MAX_CALL_BODY_BYTES} bytes`;
}

function outcomeOf({ status, bodyJson }: ApiAnswer): OrderOutcome {
  const json = `{"status":${status},"body":${bodyJson === "" ? "null" : bodyJson}}`;
  const bytes = Buffer.byteLength(json);
  if (bytes <= MAX_ANSWER_BYTES) return { kind: "result", json, memory: {} };
  const message = `it was answered with status ${status} and ${bytes} bytes, and at most ${MAX_ANSWER_BYTES} are carried: ask for less at once`;
  return refusal("OVERLOADED", message);
}

function isTimeOver({ reason }: AbortSignal): boolean {
  return reason instanceof DOMException && reason.name === "TimeoutError";
}

function refusal(reason: string, message: string): OrderOutcome {
  return { kind: "refusal", reason, message };
}
