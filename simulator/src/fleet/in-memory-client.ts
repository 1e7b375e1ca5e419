import type { DialCredentials, NodeServiceClient, ReportCall } from "@berth/node-agent";
import { EnrolmentService, type NodeReportRequest, NodeService } from "@berth/proto";
import { errorMapping, type Logger } from "@berth/service-kit";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  createRouterTransport,
  type Transport,
} from "@connectrpc/connect";

/** What the node side of a cluster-agent is reached with. */
export interface NodeTransportOptions {
  /** The cluster-agent's own routes. */
  readonly routes: (router: ConnectRouter) => void;
  readonly logger: Logger;
}

/** A transport into a cluster-agent of this process: messages are encoded and decoded, no socket is used. */
export function nodeTransport({ routes, logger }: NodeTransportOptions): Transport {
  return createRouterTransport(routes, { router: { interceptors: [errorMapping(logger)] } });
}

/** What a client of one session hears of its way. */
export interface ClientWatch {
  /** Aborted when the way to the cluster-agent is cut; calls then fail with UNAVAILABLE. */
  readonly cut: AbortSignal;
  readonly onRegistered: () => void;
}

/** The cluster-agent's services over such a transport, as a node-agent calls them. */
export function inMemoryClient(
  transport: Transport,
  own: DialCredentials,
  { cut, onRegistered }: ClientWatch,
): NodeServiceClient {
  const nodes = createClient(NodeService, transport);
  const enrolment = createClient(EnrolmentService, transport);
  const closing = new AbortController();
  const headers = { authorization: own.authorization };
  const until = (signal: AbortSignal) => AbortSignal.any([signal, cut, closing.signal]);
  const { enrolmentAuthorization } = own;
  return {
    enrol:
      enrolmentAuthorization === undefined
        ? undefined
        : (request, { timeoutMs, signal }) =>
            asGrpc(
              enrolment.enrol(request, {
                headers: { authorization: enrolmentAuthorization },
                timeoutMs,
                signal: until(signal),
              }),
            ),
    register: async (request, { timeoutMs, signal }) => {
      const call = nodes.register(request, { headers, timeoutMs, signal: until(signal) });
      const response = await asGrpc(call);
      onRegistered();
      return response;
    },
    report: () => {
      const ending = new AbortController();
      const outgoing = new Outgoing();
      const signal = AbortSignal.any([ending.signal, cut, closing.signal]);
      signal.addEventListener("abort", () => outgoing.end(), { once: true });
      if (signal.aborted) outgoing.end();
      const ended = asGrpc(nodes.report(outgoing, { headers, signal }));
      // The link hears of it when it waits for it; a stream that is given up before has nobody to tell.
      ended.catch(() => undefined);
      const call: ReportCall = {
        write: (message, sent) => outgoing.write(message, sent),
        ended,
        cancel: () => ending.abort(),
      };
      return call;
    },
    close: () => closing.abort(),
  };
}

/** A failure in the form of grpc-js: the number of the status, the message without its name. */
async function asGrpc<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    const error = ConnectError.from(thrown, Code.Unavailable);
    // What was cut on this side is a way that is not there, for the node-agent.
    const code = error.code === Code.Canceled ? Code.Unavailable : error.code;
    throw Object.assign(new Error(error.rawMessage, { cause: thrown }), { code });
  }
}

interface Written {
  readonly message: NodeReportRequest;
  readonly sent: () => void;
}

/** Messages on their way: the writer holds one back until `sent`, so there is one at most. */
class Outgoing implements AsyncIterable<NodeReportRequest> {
  readonly #written: Written[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  write(message: NodeReportRequest, sent: () => void): void {
    if (this.#ended) return;
    this.#written.push({ message, sent });
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NodeReportRequest> {
    while (!this.#ended) {
      const next = this.#written.shift();
      if (next !== undefined) {
        yield next.message;
        // Asked for the next one: the transport has taken this one.
        next.sent();
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }
}
