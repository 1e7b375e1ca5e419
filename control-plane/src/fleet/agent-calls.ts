import { BerthError, memberOf, parse, wholeOf } from "@berth/service-kit";
import { Type } from "typebox";
import type { AgentAnswer, AgentApi, AgentCall } from "./agent-api.ts";
import { type CallOrder, type CommandOutcome, reasonOf } from "./command-record.ts";
import type { Commands } from "./commands.ts";

/** Largest body of a request, bytes: agents take no more. */
const MAX_BODY_BYTES = 1024 * 1024;

const Result = Type.Object({
  status: Type.Integer({ minimum: 100, maximum: 599 }),
  body: Type.Unknown(),
});

/** Asks agents by orders over their links: see {@link AgentApi}. */
export class AgentCalls implements AgentApi {
  readonly #commands: Pick<Commands, "send">;

  constructor(commands: Pick<Commands, "send">) {
    this.#commands = commands;
  }

  /** PAYLOAD_TOO_LARGE for a body of more than 1 MiB; the agent refuses an answer of more with OVERLOADED. */
  async call(
    clusterId: string,
    { method, path, bodyJson = "" }: AgentCall,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<AgentAnswer> {
    const bodyBytes = Buffer.byteLength(bodyJson);
    if (bodyBytes > MAX_BODY_BYTES) {
      const message = `the request body: expected at most ${MAX_BODY_BYTES} bytes, got ${bodyBytes}`;
      throw new BerthError("PAYLOAD_TOO_LARGE", message);
    }
    const order: CallOrder = { kind: "call", method, path, bodyJson, bodyBytes };
    const outcome = await this.#commands.send(clusterId, order, options);
    if (outcome.kind === "completed") return answerOf(outcome.resultJson, clusterId);
    throw failure(outcome, clusterId, options.timeoutMs);
  }
}

/** The body's text as the agent wrote it, so that its numbers stay. */
function answerOf(resultJson: string, clusterId: string): AgentAnswer {
  try {
    const { status } = parse(Result, JSON.parse(resultJson));
    const body = memberOf(resultJson, wholeOf(resultJson), "body");
    return {
      status,
      bodyJson: body === undefined ? "null" : resultJson.slice(body.start, body.end),
    };
  } catch (cause) {
    const message = `cluster ${clusterId} answered what is no answer to a request`;
    throw new BerthError("UNAVAILABLE", message, { cause });
  }
}

function failure(
  outcome: Exclude<CommandOutcome, { readonly kind: "completed" }>,
  clusterId: string,
  timeoutMs: number,
): BerthError {
  const { commandId } = outcome;
  const details = { command_id: commandId, cluster_id: clusterId };
  if (outcome.kind === "refused") {
    const message = `cluster ${clusterId} refused: ${outcome.message}`;
    return new BerthError(reasonOf(outcome.reason), message, { details });
  }
  if (outcome.kind === "expired") {
    const message = `cluster ${clusterId} did not answer within ${timeoutMs} ms; what it has begun it brings to its end`;
    return new BerthError("DEADLINE_EXCEEDED", message, { details });
  }
  const message = `nobody waited for the answer of cluster ${clusterId}; the request stays valid until its deadline`;
  return new BerthError("CANCELED", message, { details });
}
