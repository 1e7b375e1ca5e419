import { type AgentService, CompleteRequestSchema } from "@berth/proto";
import { backoffMs, sleep } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code, ConnectError } from "@connectrpc/connect";
import type { CommandRunner, Completion } from "./command-runner.ts";
import type { Authority, OrderFence } from "./fence.ts";

/** Longest wait for the acknowledgement of a result, ms. */
const COMPLETE_MS = 15_000;

const RETRY = { firstMs: 200, capMs: 10_000 } as const;
/** The control-plane will never take this result: the command is forgotten there, or not this agent's. */
const FINAL: ReadonlySet<Code> = new Set([
  Code.NotFound,
  Code.PermissionDenied,
  Code.InvalidArgument,
]);

/** What the two functions work with. */
export interface CommandStreamOptions {
  readonly client: Client<typeof AgentService>;
  readonly call: CallOptions & { readonly signal?: AbortSignal };
  readonly sessionId: string;
  readonly commands: CommandRunner;
}

/** What {@link takeCommands} works with. */
export interface TakeCommandsOptions extends CommandStreamOptions {
  /** Whom the agent obeys now. */
  readonly authority: () => Authority;
  /** Store and term that the control-plane has registered the agent with. */
  readonly term: OrderFence;
  /** Hears the fences that are told, the newest last; resolves when what has to be kept is kept. Never rejects. */
  readonly onTold: (told: OrderFence) => Promise<void>;
}

/** Runs one Commands stream: hands orders to the runner. Gives why it ended. */
export async function takeCommands(options: TakeCommandsOptions): Promise<string> {
  const { client, call, sessionId, commands, authority, term, onTold } = options;
  const signal = call.signal ?? new AbortController().signal;
  for await (const { command, termId } of client.commands({ sessionId }, call)) {
    // What a session that has ended still told must not take the place of what the next one tells.
    if (signal.aborted) break;
    if (command !== undefined) {
      // Not before the order is recorded: a copy of the agent's state that knows the id knows the order.
      const onRecorded = async () => {
        if (command.fence !== undefined) await onTold(command.fence);
      };
      await commands.take(command, authority(), { signal, onRecorded });
    }
    // News behind an order waits for it.
    if (termId !== "") await onTold({ ...term, termId });
  }
  return "the control-plane ended the command stream";
}

/**
 * Sends results until the session ends; each until it is acknowledged, over the sessions too. Never
 * rejects: a result that is not taken now must not cut the other streams.
 */
export async function completeCommands(options: CommandStreamOptions): Promise<string> {
  const { commands } = options;
  const signal = options.call.signal ?? new AbortController().signal;
  let failures = 0;
  for (;;) {
    const completion = await commands.nextCompletion(signal);
    if (completion === undefined) return "the session ended";
    if (await complete(options, completion)) {
      failures = 0;
      await commands.acknowledged(completion.commandId);
    } else {
      failures += 1;
      await sleep(backoffMs(failures, RETRY), signal);
    }
  }
}

/** Gives whether the control-plane has the result, or does not want it. */
async function complete(
  { client, call, sessionId, commands }: CommandStreamOptions,
  completion: Completion,
): Promise<boolean> {
  try {
    const request = toRequest(sessionId, completion);
    await client.complete(request, { ...call, timeoutMs: COMPLETE_MS });
    return true;
  } catch (thrown) {
    const { rawMessage, code } = ConnectError.from(thrown);
    const isFinal = FINAL.has(code);
    commands.notTaken(completion.commandId, { why: rawMessage, isFinal });
    return isFinal;
  }
}

function toRequest(sessionId: string, { commandId, result, ledgerRevision }: Completion) {
  const outcome =
    result.kind === "result"
      ? { case: "resultJson" as const, value: result.json }
      : {
          case: "refusal" as const,
          value: { reason: result.reason, message: result.message },
        };
  return create(CompleteRequestSchema, { sessionId, commandId, ledgerRevision, outcome });
}
