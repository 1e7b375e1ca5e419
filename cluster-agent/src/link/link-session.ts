import {
  type AgentRegisterRequest,
  AgentRegisterRequestSchema,
  type AgentRegisterResponse,
  AgentService,
  ClusterIdentityKind,
  EnrolmentService,
} from "@berth/proto";
import { type AgentIdentity, BerthError, type Clock, toBerthError } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import {
  type CallOptions,
  type Client,
  Code,
  ConnectError,
  createClient,
} from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import type { FetchedPolicy } from "../policies/policy-source.ts";
import type { CommandRunner } from "./command-runner.ts";
import { completeCommands, takeCommands } from "./command-stream.ts";
import type { EventHold } from "./event-hold.ts";
import type { Authority, KnownFence, OrderFence } from "./fence.ts";
import { LinkConnection } from "./link-connection.ts";
import type { Outbox } from "./outbox.ts";
import { reportMessages } from "./report-stream.ts";
import { type StateBoard, type StateEntry, stateDigest } from "./state-board.ts";
import { sendState } from "./state-sender.ts";
import type { TelemetryEntry } from "./telemetry-entries.ts";

/**
 * Deadlines of a link session, ms; that of an acknowledgement counts from the size of what is sent. Half-open
 * connections are found within ping interval + timeout.
 */
export const LINK_LIMITS = {
  registerMs: 10_000,
  pingIntervalMs: 4_000,
  pingTimeoutMs: 4_000,
  ack: { baseMs: 15_000, msPer64KiB: 1_000 },
  settleMs: 1_000,
  fetchPolicyMs: 10_000,
} as const;

/** Messages from this size on are compressed: a cluster document of 12 MB takes less than 1 MB then. */
const COMPRESS_MIN_BYTES = 64 * 1024;

const REPORT_INTERVAL_BOUNDS = { minMs: 50, maxMs: 600_000 } as const;

/** Who the agent is and what it sends, the same in every session. */
export interface LinkFacts {
  readonly clusterId: string;
  /** `<machine id>:<data-directory id>`. */
  readonly identity: string;
  /** What the identity is taken from; the machine by default. */
  readonly identityKind?: "process" | "kubernetes";
  readonly agentIncarnation: bigint;
  readonly agentVersion: string;
  /** UUID of this process. */
  readonly agentInstanceId: string;
  readonly board: StateBoard;
  readonly telemetry: () => readonly TelemetryEntry[];
}

/** What the agent remembers of the control-plane and of itself when it registers. */
export interface LinkPast {
  readonly known: KnownFence | undefined;
  /** `agent_instance_id`s of the starts before this one, oldest first. */
  readonly formerStarts: readonly string[];
}

/** What a {@link LinkSession} is opened with. */
export interface LinkSessionOptions {
  readonly facts: LinkFacts;
  /** "http://127.0.0.1:7443". */
  readonly url: string;
  readonly identity: AgentIdentity;
  readonly outbox: Outbox;
  readonly eventHold: EventHold;
  readonly commands: CommandRunner;
  readonly clock: Clock;
}

/** What {@link LinkSession.run} asks and tells. */
export interface SessionHooks {
  /** Whom the agent obeys now. */
  readonly authority: () => Authority;
  /** Hears the fences that the control-plane tells; never rejects. */
  readonly onTold: (told: OrderFence) => Promise<void>;
}

/** One connection to the control-plane: a registration and the streams that belong to it. */
export class LinkSession {
  readonly #options: LinkSessionOptions;
  readonly #connection: LinkConnection;
  readonly #client: Client<typeof AgentService>;
  readonly #enrolment: Client<typeof EnrolmentService>;
  readonly #abort = new AbortController();
  readonly #registered: readonly StateEntry[];

  constructor(options: LinkSessionOptions) {
    const { facts, url, identity } = options;
    this.#options = options;
    this.#registered = facts.board.entries();
    const serverCa = () => identity.serverCa(this.#abort.signal);
    this.#connection = new LinkConnection(url, { ...LINK_LIMITS, serverCa });
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: "2",
      sessionManager: this.#connection,
      sendCompression: compressionGzip,
      compressMinBytes: COMPRESS_MIN_BYTES,
    });
    this.#client = createClient(AgentService, transport);
    this.#enrolment = createClient(EnrolmentService, transport);
  }

  /**
   * Registers, each call within 10 s. An agent that is not known enrols first, once, when it has an
   * enrolment token. Rejects with the control-plane's refusal, or when it cannot be reached.
   */
  async register(past: LinkPast): Promise<AgentRegisterResponse> {
    const request = registerRequest(this.#options.facts, this.#registered, past);
    const options = { ...this.#call(), timeoutMs: LINK_LIMITS.registerMs };
    try {
      return await this.#client.register(request, options);
    } catch (thrown) {
      if (!(thrown instanceof ConnectError && thrown.code === Code.Unauthenticated)) throw thrown;
      await this.#enrol(thrown);
      return await this.#client.register(request, options);
    }
  }

  /**
   * Runs the streams until one of them ends; gives why. Rejects when one breaks. Never longer than
   * {@link close} plus one second.
   */
  async run(registered: AgentRegisterResponse, hooks: SessionHooks): Promise<string> {
    const { facts, outbox, eventHold, commands, clock } = this.#options;
    const { sessionId } = registered;
    const { storeId = "", controllerTerm = 0n, termId = "" } = registered.fence ?? {};
    const term = { storeId, controllerTerm, termId };
    const held = registered.snapshotWanted ? undefined : this.#registered;
    const call = this.#call();
    const client = this.#client;
    const inSync = Promise.withResolvers<void>();
    const state = { client, call, sessionId, board: facts.board, outbox, eventHold, clock, held };
    const streams = [
      sendState({ ...state, ack: LINK_LIMITS.ack, onInSync: inSync.resolve }),
      this.#report(registered, inSync.promise),
      takeCommands({ client, call, sessionId, commands, term, ...hooks }),
      completeCommands({ client, call, sessionId, commands }),
    ];
    try {
      return await Promise.race(streams);
    } finally {
      this.#abort.abort();
      inSync.resolve();
      await settledWithin(streams, LINK_LIMITS.settleMs);
      outbox.rewind();
    }
  }

  /** The code and the defaults of a published policy; the files are empty when they are those of the known digest. */
  async fetchPolicy(uri: string, knownDigest: string, signal: AbortSignal): Promise<FetchedPolicy> {
    const call = this.#call();
    const options = {
      ...call,
      signal: AbortSignal.any([this.#abort.signal, signal]),
      timeoutMs: LINK_LIMITS.fetchPolicyMs,
    };
    const request = { policyRuleUri: uri, knownDigest };
    const { digest, filesJson, settingsJson, parametersJson } = await this.#client.fetchPolicy(
      request,
      options,
    );
    return { digest, filesJson, settingsJson, parametersJson };
  }

  /** Ends everything and closes the connection. */
  close(): void {
    this.#abort.abort();
    this.#connection.close();
  }

  async #enrol(unknown: ConnectError): Promise<void> {
    const { identity, facts } = this.#options;
    const authorization = identity.enrolmentAuthorization;
    if (authorization === undefined) {
      const message = `${unknown.rawMessage}; set BERTH_ENROLMENT_TOKEN to what \`berth token create\` prints`;
      throw new BerthError("UNAUTHENTICATED", message, { cause: unknown });
    }
    const request = {
      subjectId: facts.clusterId,
      identity: `${facts.identityKind ?? "process"}:${facts.identity}`,
      keySha256: Uint8Array.from(identity.keySha256),
    };
    const { signal } = this.#abort;
    const options = { headers: { authorization }, signal, timeoutMs: LINK_LIMITS.registerMs };
    try {
      await this.#enrolment.enrol(request, options);
    } catch (cause) {
      const { reason, message } = toBerthError(cause);
      throw new BerthError(reason, `enrolment refused: ${message}`, { cause });
    }
  }

  async #report(
    { sessionId, reportIntervalMs }: AgentRegisterResponse,
    inSync: Promise<void>,
  ): Promise<string> {
    await inSync;
    const { minMs, maxMs } = REPORT_INTERVAL_BOUNDS;
    const intervalMs = Math.min(maxMs, Math.max(minMs, reportIntervalMs));
    const signal = this.#abort.signal;
    const entries = this.#options.facts.telemetry;
    const messages = reportMessages({ sessionId, intervalMs, entries, signal });
    const { reason } = await this.#client.report(messages, this.#call());
    return reason === "" ? "the control-plane ended the report stream" : reason;
  }

  #call(): CallOptions {
    const { authorization } = this.#options.identity;
    return { headers: { authorization }, signal: this.#abort.signal };
  }
}

function registerRequest(
  facts: LinkFacts,
  entries: readonly StateEntry[],
  { known, formerStarts }: LinkPast,
): AgentRegisterRequest {
  return create(AgentRegisterRequestSchema, {
    clusterId: facts.clusterId,
    identity: { kind: identityKindOf(facts), value: facts.identity },
    agentIncarnation: facts.agentIncarnation,
    knownStoreId: known?.storeId ?? "",
    knownControllerTerm: known?.controllerTerm ?? 0n,
    knownTermId: known?.termId ?? "",
    stateDigest: stateDigest(entries),
    agentVersion: facts.agentVersion,
    agentInstanceId: facts.agentInstanceId,
    formerInstanceIds: [...formerStarts],
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

function identityKindOf({ identityKind }: Pick<LinkFacts, "identityKind">): ClusterIdentityKind {
  return identityKind === "kubernetes"
    ? ClusterIdentityKind.KUBERNETES
    : ClusterIdentityKind.PROCESS;
}
