import {
  type AgentRegisterRequest,
  AgentRegisterResponseSchema,
  type AgentReportRequest,
  AgentService,
  type StateRequest,
  StateResponseSchema,
} from "@berth/proto";
import {
  createHttp2Server,
  silentLogger,
  toConnectError,
  tokenAuthenticator,
} from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Cleanup } from "./agent.ts";

/** How a {@link FakeControlPlane} answers. */
export interface ControlPlaneScript {
  readonly storeId: string;
  readonly term: bigint;
  readonly snapshotWanted: boolean;
  /** Ends the report stream in good order after so many messages. */
  readonly endReportAfter?: number;
}

/** A server of AgentService that remembers what it was sent. Speaks the real protocol over a socket. */
export class FakeControlPlane {
  readonly registers: AgentRegisterRequest[] = [];
  readonly states: StateRequest[] = [];
  readonly reports: AgentReportRequest[] = [];
  script: ControlPlaneScript;
  #server: ReturnType<typeof createHttp2Server> | undefined;

  constructor(script: ControlPlaneScript) {
    this.script = script;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server?.port ?? 0}`;
  }

  /** Listens on `port`, 0 for a free one. */
  async start(cleanup: Cleanup, port = 0): Promise<void> {
    const authenticate = tokenAuthenticator("default_org", "link-secret");
    const handler = connectNodeAdapter({
      routes: (router) => this.#routes(router),
      requestGate: ({ requestHeader }) => {
        try {
          authenticate({ authorization: requestHeader.get("authorization") ?? undefined });
        } catch (thrown) {
          throw toConnectError(thrown);
        }
      },
    });
    const address = { host: "127.0.0.1", port, setting: "TEST_PORT" };
    this.#server = createHttp2Server({ name: "fake", handler, address, logger: silentLogger });
    await this.#server.start();
    cleanup.add(() => this.stop());
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
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

  #routes(router: ConnectRouter): void {
    const { registers, states, reports } = this;
    const script = () => this.script;
    router.service(AgentService, {
      register(request) {
        registers.push(request);
        const { storeId, term, snapshotWanted } = script();
        const fence = {
          storeId,
          controllerTerm: term,
          agentIncarnation: request.agentIncarnation,
        };
        const sessionId = `session-${registers.length}`;
        const times = { reportIntervalMs: 50, ttlMs: 15_000 };
        return create(AgentRegisterResponseSchema, { sessionId, fence, snapshotWanted, ...times });
      },
      async report(requests) {
        let count = 0;
        for await (const request of requests) {
          reports.push(request);
          count += 1;
          if (count === script().endReportAfter) break;
        }
        return { reason: "the test asks for a new registration" };
      },
      async *state(requests) {
        for await (const request of requests) {
          states.push(request);
          yield create(StateResponseSchema, { ackedStreamSeq: request.streamSeq });
        }
      },
    });
  }
}
