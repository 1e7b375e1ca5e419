import {
  BerthError,
  ERROR_TABLE,
  isJsonObject,
  type Reason,
  toBerthError,
} from "@berth/service-kit";
import type { AgentApi, AgentCall } from "../fleet/agent-api.ts";

/** What became of a request to a cluster. */
export type Asked =
  | { readonly kind: "done"; readonly status: number; readonly bodyJson: string }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | {
      readonly kind: "silent";
      readonly error: BerthError;
      /** It may have been carried out, or still be. */
      readonly mayHaveRun: boolean;
    };

/** A cluster's no. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** What the link answers an order with that was never given, or that the agent did not begin. */
const NEVER_BEGUN: readonly Reason[] = [
  "NOT_FOUND",
  "PRECONDITION_FAILED",
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "UNIMPLEMENTED",
];

/** Asks an agent, and tells a refusal from silence. Rejects only when the signal is aborted, with its reason. */
export async function askAgent(
  agents: AgentApi,
  { clusterId, ...request }: AgentCall & { readonly clusterId: string },
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Asked> {
  try {
    const { status, bodyJson } = await agents.call(clusterId, request, options);
    options.signal.throwIfAborted();
    if (status < 400) return { kind: "done", status, bodyJson };
    return { kind: "refused", refusal: refusalOf(status, bodyJson) };
  } catch (thrown) {
    options.signal.throwIfAborted();
    const error = toBerthError(thrown);
    return { kind: "silent", error, mayHaveRun: !NEVER_BEGUN.includes(error.reason) };
  }
}

/** The refusal in an error body; other bodies are told by their status. */
export function refusalOf(status: number, bodyJson: string): Refusal {
  const body = parsed(bodyJson);
  if (!isJsonObject(body)) {
    return { reason: "INTERNAL", message: `answered with status ${status}`, details: {} };
  }
  const { reason, message, error, success: _, data: _data, ...details } = body;
  const text = [message, error].find((one) => typeof one === "string" && one !== "");
  return {
    reason: typeof reason === "string" ? reason : reasonOfStatus(status),
    message: typeof text === "string" ? text : `answered with status ${status}`,
    details,
  };
}

/** A refusal as this program's own error; agents of other versions may refuse for reasons that it does not know. */
export function toError({ reason, message, details }: Refusal): BerthError {
  const known = Object.hasOwn(ERROR_TABLE, reason) ? (reason as Reason) : "UNAVAILABLE";
  return new BerthError(known, message, { details });
}

/** Parsed JSON text; undefined when it is none. */
export function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}

function reasonOfStatus(status: number): Reason {
  if (status === 404) return "NOT_FOUND";
  if (status === 403) return "PERMISSION_DENIED";
  return status < 500 ? "INVALID_ARGUMENT" : "UNAVAILABLE";
}
