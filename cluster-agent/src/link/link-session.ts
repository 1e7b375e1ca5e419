import {
  type AgentRegisterRequest,
  AgentRegisterRequestSchema,
  type AgentRegisterResponse,
  AgentService,
  ClusterIdentityKind,
} from "@berth/proto";
import { BerthError, type Clock } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { type CallOptions, type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { KnownFence } from "./fence.ts";
import { LinkConnection } from "./link-connection.ts";
import { reportMessages } from "./report-stream.ts";
import { type StateBoard, type StateEntry, stateDigest } from "./state-board.ts";
import { AckDeadline, stateMessages } from "./state-stream.ts";
import type { TelemetryEntry } from "./telemetry-entries.ts";

/** Deadlines of a link session, ms. Half-open connections are found within ping interval + timeout. */
export const LINK_LIMITS = {
  registerMs: 10_000,
  pingIntervalMs: 4_000,
  pingTimeoutMs: 4_000,
  ackMs: 15_000,
  settleMs: 1_000,
} as const;

const REPORT_INTERVAL_BOUNDS = { minMs: 50, maxMs: 600_000 } as const;

/** Who the agent is and what it sends, the same in every session. */
export interface LinkFacts {
  readonly clusterId: string;
  /** `<machine id>:<data-directory id>`. */
  readonly identity: string;
  readonly agentIncarnation: bigint;
  readonly agentVersion: string;
  /** UUID of this process. */
  readonly agentInstanceId: string;
  readonly board: StateBoard;
  readonly telemetry: () => readonly TelemetryEntry[];
}

/** What a {@link LinkSession} is opened with. */
export interface LinkSessionOptions {
  readonly facts: LinkFacts;
  /** "http://127.0.0.1:7443". */
  readonly url: string;
  readonly token: string;
  readonly clock: Clock;
}

/** One connection to the control-plane: a registration and the streams that belong to it. */
export class LinkSession {
  readonly #options: LinkSessionOptions;
  readonly #connection: LinkConnection;
  readonly #client: Client<typeof AgentService>;
  readonly #abort = new AbortController();
  readonly #registered: readonly StateEntry[];

  constructor(options: LinkSessionOptions) {
    this.#options = options;
    this.#registered = options.facts.board.entries();
    this.#connection = new LinkConnection(options.url, LINK_LIMITS);
    const transport = createConnectTransport({
      baseUrl: options.url,
      httpVersion: "2",
      sessionManager: this.#connection,
    });
    this.#client = createClient(AgentService, transport);
  }

  /** Registers within 10 s; rejects with the control-plane's refusal, or when it cannot be reached. */
  register(known: KnownFence | undefined): Promise<AgentRegisterResponse> {
    const request = registerRequest(this.#options.facts, this.#registered, known);
    return this.#client.register(request, { ...this.#call(), timeoutMs: LINK_LIMITS.registerMs });
  }

  /**
   * Runs the streams until one of them ends; gives why. Rejects when one breaks. Never longer than
   * {@link close} plus one second.
   */
  async run(registered: AgentRegisterResponse): Promise<string> {
    const streams = [this.#report(registered), this.#state(registered)];
    try {
      return await Promise.race(streams);
    } finally {
      this.#abort.abort();
      await settledWithin(streams, LINK_LIMITS.settleMs);
    }
  }

  /** Ends everything and closes the connection. */
  close(): void {
    this.#abort.abort();
    this.#connection.close();
  }

  async #report({ sessionId, reportIntervalMs }: AgentRegisterResponse): Promise<string> {
    const { minMs, maxMs } = REPORT_INTERVAL_BOUNDS;
    const intervalMs = Math.min(maxMs, Math.max(minMs, reportIntervalMs));
    const signal = this.#abort.signal;
    const entries = this.#options.facts.telemetry;
    const messages = reportMessages({ sessionId, intervalMs, entries, signal });
    const { reason } = await this.#client.report(messages, this.#call());
    return reason === "" ? "the control-plane ended the report stream" : reason;
  }

  async #state({ sessionId, snapshotWanted }: AgentRegisterResponse): Promise<string> {
    const { facts, clock } = this.#options;
    const late = new AbortController();
    const deadline = new AckDeadline(LINK_LIMITS.ackMs, () => late.abort());
    const signal = AbortSignal.any([this.#abort.signal, late.signal]);
    const held = snapshotWanted ? undefined : this.#registered;
    const onSend = (streamSeq: bigint) => deadline.sent(streamSeq);
    const messages = stateMessages({ board: facts.board, clock, sessionId, held, signal, onSend });
    try {
      const acks = this.#client.state(messages, { ...this.#call(), signal });
      for await (const { ackedStreamSeq } of acks) deadline.acked(ackedStreamSeq);
      return "the control-plane ended the state stream";
    } catch (thrown) {
      if (!late.signal.aborted) throw thrown;
      const message = `state was not acknowledged within ${LINK_LIMITS.ackMs} ms`;
      throw new BerthError("DEADLINE_EXCEEDED", message, { cause: thrown });
    } finally {
      deadline.stop();
    }
  }

  #call(): CallOptions {
    const headers = { authorization: `Bearer ${this.#options.token}` };
    return { headers, signal: this.#abort.signal };
  }
}

function registerRequest(
  facts: LinkFacts,
  entries: readonly StateEntry[],
  known: KnownFence | undefined,
): AgentRegisterRequest {
  return create(AgentRegisterRequestSchema, {
    clusterId: facts.clusterId,
    identity: { kind: ClusterIdentityKind.PROCESS, value: facts.identity },
    agentIncarnation: facts.agentIncarnation,
    knownStoreId: known?.storeId ?? "",
    knownControllerTerm: known?.controllerTerm ?? 0n,
    stateDigest: stateDigest(entries),
    agentVersion: facts.agentVersion,
    agentInstanceId: facts.agentInstanceId,
  });
}

async function settledWithin(tasks: readonly Promise<unknown>[], limitMs: number): Promise<void> {
  const limit = new AbortController();
  const timer = new Promise<void>((resolve) => {
    const timeout = setTimeout(resolve, limitMs);
    limit.signal.addEventListener("abort", () => clearTimeout(timeout));
  });
  await Promise.race([Promise.allSettled(tasks), timer]);
  limit.abort();
}
