import { EnrolmentService, NodeService } from "@berth/proto";
import {
  callerAddress,
  createHttp2Server,
  type EnrolmentGuard,
  enrolmentGate,
  errorMapping,
  type Http2Server,
  knownCaller,
  type ListenAddress,
  type Logger,
  type ServerTls,
  unaryPathsOf,
} from "@berth/service-kit";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

/** Largest message of a node-agent: a full fingerprint and a full report fit many times over. */
export const MAX_NODE_MESSAGE_BYTES = 1024 * 1024;

const DRAIN_LIMIT_MS = 500;

/** What {@link createNodeServer} needs. */
export interface NodeServerOptions {
  readonly routes: (router: ConnectRouter) => void;
  /** Lets in nodes by their own keys, and Enrol with a token. */
  readonly guard: EnrolmentGuard;
  /** Certificate of the port; cleartext without it. */
  readonly tls?: ServerTls | undefined;
  readonly address: ListenAddress;
  readonly logger: Logger;
  /** Aborted by {@link Http2Server.stop}, so that handlers end their streams. */
  readonly stopping: AbortController;
}

/**
 * The HTTP/2 port of node-agents. Callers without a known credential, and those that send a single message slowly,
 * are cut off. Stopping lets open streams end in good order, for 500 ms at most.
 */
export function createNodeServer(options: NodeServerOptions): Http2Server {
  const handler = connectNodeAdapter({
    routes: options.routes,
    requestGate: enrolmentGate(options.guard, EnrolmentService.typeName),
    contextValues: callerAddress,
    interceptors: [errorMapping(options.logger)],
    readMaxBytes: MAX_NODE_MESSAGE_BYTES,
  });
  const calls = new OpenCalls();
  const server = createHttp2Server({
    name: "node port",
    address: options.address,
    logger: options.logger,
    tls: options.tls,
    isKnown: knownCaller(options.guard),
    unaryPaths: unaryPathsOf(NodeService, EnrolmentService),
    handler: (request, response) => {
      calls.opened();
      response.once("close", () => calls.closed());
      handler(request, response);
    },
  });
  return {
    name: server.name,
    get port() {
      return server.port;
    },
    start: () => server.start(),
    async stop() {
      options.stopping.abort();
      await calls.drained(DRAIN_LIMIT_MS);
      await server.stop();
    },
  };
}

class OpenCalls {
  #count = 0;
  #drained: (() => void) | undefined;

  opened(): void {
    this.#count += 1;
  }

  closed(): void {
    this.#count -= 1;
    if (this.#count === 0) this.#drained?.();
  }

  drained(limitMs: number): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#drained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
