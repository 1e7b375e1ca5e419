import {
  type AgentReportRequestSchema,
  AgentService,
  ClusterIdentityKind,
  EntrySchema,
  type StateRequestSchema,
  type StateResponse,
} from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import {
  type ConnectTransportOptions,
  createConnectTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { aDocument } from "./documents.ts";

/** UUID of the process of a test's agent. */
export const INSTANCE = "00000000-0000-4000-8000-000000000001";
/** UUID of another process. */
export const OTHER_INSTANCE = "00000000-0000-4000-8000-000000000002";

/** Identity that a test's agents are enrolled with, by cluster id. */
export function identityOf(clusterId: string): string {
  return `process:machine:${clusterId}`;
}

/** Key of a test's agent, by cluster id. */
export function keyOf(clusterId: string): string {
  return `key-${clusterId}`;
}

/** Fields of a registration that a test changes. */
export interface RegisterInit {
  readonly clusterId?: string;
  readonly identity?: { readonly kind: ClusterIdentityKind; readonly value: string };
  readonly agentIncarnation?: bigint;
  readonly agentInstanceId?: string;
  readonly stateDigest?: string;
  readonly knownStoreId?: string;
  readonly knownControllerTerm?: bigint;
  readonly knownTermId?: string;
  readonly formerInstanceIds?: string[];
}

/** A registration of cluster c1, or of what `overrides` says. */
export function hello(overrides: RegisterInit = {}) {
  const { clusterId = "c1" } = overrides;
  return {
    clusterId,
    identity: { kind: ClusterIdentityKind.PROCESS, value: `machine:${clusterId}` },
    agentIncarnation: 1n,
    agentInstanceId: INSTANCE,
    ...overrides,
  };
}

/** An entry with a JSON value. */
export function entry(key: string, revision: number, value: unknown) {
  return create(EntrySchema, { key, revision: BigInt(revision), json: JSON.stringify(value) });
}

/** An async queue that plays the agent's side of a stream. */
export class Outgoing<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #isDone = false;
  #wake: () => void = () => undefined;

  push(value: T): void {
    this.#values.push(value);
    this.#wake();
  }

  end(): void {
    this.#isDone = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const value = this.#values.shift();
      if (value !== undefined) yield value;
      else if (this.#isDone) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

type StateInit = MessageInitShape<typeof StateRequestSchema>;

/** The agent's side of a State stream, by hand. */
export class StateStream {
  readonly sessionId: string;
  readonly #requests = new Outgoing<StateInit>();
  readonly #answers: AsyncIterator<StateResponse>;
  #seq = 0n;

  constructor(agent: TestAgent, sessionId: string) {
    this.sessionId = sessionId;
    const answers = agent.client.state(this.#requests as never, { headers: agent.headers });
    this.#answers = answers[Symbol.asyncIterator]();
  }

  /** Sends a message in sequence, unless `message` says otherwise. */
  send(message: Partial<Omit<StateInit, "$typeName">> = {}): void {
    this.#seq += 1n;
    const { sessionId } = this;
    this.#requests.push({ sessionId, streamSeq: this.#seq, ...message } as StateInit);
  }

  /** The next answer; rejects when the stream breaks. `refused`: why events were not taken in. */
  async answer(): Promise<{ acked: number; admitted: boolean; refused?: string }> {
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("the stream has ended");
    const { ackedStreamSeq, snapshotAdmitted: admitted, eventsRefused: refused } = value;
    return { acked: Number(ackedStreamSeq), admitted, ...(refused === "" ? {} : { refused }) };
  }

  /** Opens the stream and waits until its snapshot is admitted. */
  async admitted(): Promise<void> {
    this.send();
    for (let answer = await this.answer(); !answer.admitted; ) answer = await this.answer();
  }

  /** Sends a snapshot of one cluster document and waits until it is taken in. */
  async snapshot(clusterId: string, revision = 1): Promise<void> {
    await this.admitted();
    const entries = [entry("cluster", revision, aDocument(clusterId))];
    this.send({ snapshot: true, snapshotEnd: true, entries });
    await this.answer();
  }

  end(): void {
    this.#requests.end();
  }
}

/** A client that speaks as the agent of one cluster, over a connection of its own. */
export class TestAgent {
  readonly client: Client<typeof AgentService>;
  readonly clusterId: string;
  readonly headers: { readonly authorization: string };
  readonly #manager: Http2SessionManager;

  /** `options`: those of the transport, as for compression. */
  constructor(
    baseUrl: string,
    clusterId = "c1",
    key = keyOf(clusterId),
    options: Pick<ConnectTransportOptions, "sendCompression" | "compressMinBytes"> = {},
  ) {
    this.clusterId = clusterId;
    this.headers = { authorization: `Bearer ${key}` };
    this.#manager = new Http2SessionManager(baseUrl);
    const sessionManager = this.#manager;
    const transport = { ...options, httpVersion: "2", baseUrl, sessionManager } as const;
    this.client = createClient(AgentService, createConnectTransport(transport));
  }

  /** Registers; `overrides` may claim another cluster. */
  register(overrides: RegisterInit = {}) {
    const { headers, clusterId } = this;
    return this.client.register(hello({ clusterId, ...overrides }), { headers });
  }

  /** Registers and opens a State stream, without a message yet. */
  async open(overrides: RegisterInit = {}): Promise<StateStream> {
    return new StateStream(this, (await this.register(overrides)).sessionId);
  }

  /** Registers and sends a snapshot. */
  async join(overrides: RegisterInit = {}): Promise<StateStream> {
    const state = await this.open(overrides);
    await state.snapshot(this.clusterId);
    return state;
  }

  /** Opens a telemetry stream; `ended` resolves with the server's reason. */
  report(sessionId: string) {
    const requests = new Outgoing<MessageInitShape<typeof AgentReportRequestSchema>>();
    const ended = this.client.report(requests as never, { headers: this.headers });
    // A test may end without asking how the stream did.
    ended.catch(() => undefined);
    let seq = 0n;
    const send = (entries: readonly ReturnType<typeof entry>[] = []) => {
      seq += 1n;
      requests.push({ sessionId, streamSeq: seq, entries: [...entries] });
    };
    return { send, ended, end: () => requests.end() };
  }

  /** Opens the Commands stream. */
  commands(sessionId: string, signal?: AbortSignal) {
    const { headers } = this;
    const options = signal === undefined ? { headers } : { headers, signal };
    return this.client.commands({ sessionId }, options)[Symbol.asyncIterator]();
  }

  /** Answers a command. */
  complete(sessionId: string, commandId: string, resultJson = '{"text":"hi","runs":1}') {
    const outcome = { case: "resultJson" as const, value: resultJson };
    return this.client.complete({ sessionId, commandId, outcome }, { headers: this.headers });
  }

  /** Ends the connection and every stream on it. */
  close(): void {
    this.#manager.abort();
  }
}
