import { createHash } from "node:crypto";
import {
  type AgentRegisterRequest,
  AgentRegisterResponseSchema,
  type AgentReportRequest,
  AgentService,
  type Command,
  type CommandsResponse,
  CommandsResponseSchema,
  type CompleteRequest,
  EnrolmentService,
  type EnrolRequest,
  type Event,
  type StateRequest,
  StateResponseSchema,
} from "@berth/proto";
import {
  BerthError,
  createHttp2Server,
  type Reason,
  silentLogger,
  toConnectError,
} from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { type Cleanup, Outgoing } from "./agent.ts";

/** Enrolment token that a {@link FakeControlPlane} takes. */
export const LINK_TOKEN = `berth1.${"T".repeat(43)}`;

/** How a {@link FakeControlPlane} answers. */
export interface ControlPlaneScript {
  readonly storeId: string;
  readonly term: bigint;
  /** Names the term; none by default, as older versions do. */
  readonly termId?: string;
  /** Why the agent shall only observe. */
  readonly observeReason?: string;
  /** Registrations are refused so. */
  readonly refusal?: { readonly reason: Reason; readonly message: string };
  readonly snapshotWanted: boolean;
  readonly adoptedStoreIds?: readonly string[];
  /** Ends the report stream in good order after so many messages. */
  readonly endReportAfter?: number;
  /** Snapshots are admitted only when the test says so. */
  readonly holdsSnapshots?: boolean;
  /** State messages are not acknowledged once there are events in them. */
  readonly losesEvents?: boolean;
  /** Why events are not taken in; the rest of their messages is. */
  readonly eventsRefused?: string;
  /** Answers of Complete get lost so many times. */
  readonly losesCompletions?: number;
}

/**
 * A server of AgentService and EnrolmentService that remembers what it was sent and follows a script. Speaks
 * the real protocol over a socket.
 */
export class FakeControlPlane {
  readonly registers: AgentRegisterRequest[] = [];
  readonly enrolments: EnrolRequest[] = [];
  readonly states: StateRequest[] = [];
  readonly reports: AgentReportRequest[] = [];
  readonly completions: CompleteRequest[] = [];
  script: ControlPlaneScript;
  #server: ReturnType<typeof createHttp2Server> | undefined;
  #lost = 0;
  readonly #keys = new Set<string>();
  readonly #admissions: (() => void)[] = [];
  /** By session. */
  readonly #orders = new Map<string, Outgoing<CommandsResponse>>();

  constructor(script: ControlPlaneScript) {
    this.script = script;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server?.port ?? 0}`;
  }

  /** All events that came, in order. */
  get events(): readonly Event[] {
    return this.states.flatMap((state) => state.events);
  }

  /** Sessions whose Commands stream is open. */
  get commandSessions(): readonly string[] {
    return [...this.#orders.keys()];
  }

  /** Admits the snapshots that wait. */
  admit(): void {
    for (const admit of this.#admissions.splice(0)) admit();
  }

  /** Offers a command on every open Commands stream. */
  order(command: Command): void {
    this.#push(create(CommandsResponseSchema, { command }));
  }

  /** Tells a new name of the term on every open Commands stream. */
  nameTerm(termId: string): void {
    this.#push(create(CommandsResponseSchema, { termId }));
  }

  /** Forgets the keys of agents: they have to enrol again. */
  forgetKeys(): void {
    this.#keys.clear();
  }

  /** Listens on `port`, 0 for a free one. */
  async start(cleanup: Cleanup, port = 0): Promise<void> {
    const handler = connectNodeAdapter({
      routes: (router) => this.#routes(router),
      requestGate: (context) => this.#gate(context),
    });
    const address = { host: "127.0.0.1", port, setting: "TEST_PORT" };
    this.#server = createHttp2Server({ name: "fake", handler, address, logger: silentLogger });
    await this.#server.start();
    cleanup.add(() => this.stop());
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const orders of this.#orders.values()) orders.end();
    await server?.stop();
  }

  /** The newest value sent under a key on either stream. */
  newest(key: string): unknown {
    const entry = [...this.states, ...this.reports]
      .flatMap((message) => message.entries)
      .filter((candidate) => candidate.key === key)
      .sort((a, b) => Number(a.revision - b.revision))
      .at(-1);
    return entry === undefined ? undefined : JSON.parse(entry.json);
  }

  #push(message: CommandsResponse): void {
    for (const orders of this.#orders.values()) orders.send(message);
  }

  #gate({ requestHeader, service }: HandlerContext): void {
    const bearer = requestHeader.get("authorization") ?? "";
    const isToken = bearer === `Bearer ${LINK_TOKEN.split(".")[1]}`;
    const key = createHash("sha256").update(bearer.replace("Bearer ", "")).digest("hex");
    if (service.typeName === EnrolmentService.typeName ? isToken : this.#keys.has(key)) return;
    throw toConnectError(new BerthError("UNAUTHENTICATED", "unknown credential; enrol"));
  }

  #routes(router: ConnectRouter): void {
    router.service(EnrolmentService, { enrol: (request) => this.#enrol(request) });
    router.service(AgentService, {
      register: (request) => this.#register(request),
      report: async (requests) => {
        let count = 0;
        for await (const request of requests) {
          this.reports.push(request);
          count += 1;
          if (count === this.script.endReportAfter) break;
        }
        return { reason: "the test asks for a new registration" };
      },
      state: (requests) => this.#state(requests),
      commands: ({ sessionId }, context) => this.#commands(sessionId, context.signal),
      complete: (request) => {
        this.completions.push(request);
        this.#lost += 1;
        if (this.#lost > (this.script.losesCompletions ?? 0)) return {};
        throw toConnectError(new BerthError("UNAVAILABLE", "the answer got lost"));
      },
    });
  }

  #enrol(request: EnrolRequest) {
    this.enrolments.push(request);
    this.#keys.add(Buffer.from(request.keySha256).toString("hex"));
    return { subjectId: request.subjectId };
  }

  #register(request: AgentRegisterRequest) {
    this.registers.push(request);
    const { storeId, term, termId = "", snapshotWanted, adoptedStoreIds = [] } = this.script;
    const { refusal, observeReason = "" } = this.script;
    if (refusal !== undefined)
      throw toConnectError(new BerthError(refusal.reason, refusal.message));
    const { agentIncarnation } = request;
    const fence = { storeId, controllerTerm: term, agentIncarnation, termId };
    const sessionId = `session-${this.registers.length}`;
    const times = { reportIntervalMs: 50, ttlMs: 15_000 };
    return create(AgentRegisterResponseSchema, {
      ...{ sessionId, fence, snapshotWanted, observeReason, ...times },
      adoptedStoreIds: [...adoptedStoreIds],
    });
  }

  async *#state(requests: AsyncIterable<StateRequest>) {
    for await (const request of requests) {
      this.states.push(request);
      if (this.script.losesEvents === true && request.events.length > 0) continue;
      const ackedStreamSeq = request.streamSeq;
      const waits = this.script.snapshotWanted && ackedStreamSeq === 1n;
      const snapshotAdmitted = waits && this.script.holdsSnapshots !== true;
      const eventsRefused = request.events.length > 0 ? (this.script.eventsRefused ?? "") : "";
      yield create(StateResponseSchema, { ackedStreamSeq, snapshotAdmitted, eventsRefused });
      if (!waits || snapshotAdmitted) continue;
      await new Promise<void>((resolve) => this.#admissions.push(resolve));
      yield create(StateResponseSchema, { ackedStreamSeq, snapshotAdmitted: true });
    }
  }

  async *#commands(sessionId: string, signal: AbortSignal) {
    const orders = new Outgoing<CommandsResponse>();
    this.#orders.set(sessionId, orders);
    signal.addEventListener("abort", () => {
      this.#orders.delete(sessionId);
      orders.end();
    });
    yield* orders;
  }
}
