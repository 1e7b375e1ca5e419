import type { DialCredentials, NodeServiceClient, ReportCall } from "@berth/node-agent";
import {
  EnrolmentService,
  EnrolResponseSchema,
  NodeRegisterResponseSchema,
  NodeReportResponseSchema,
  NodeService,
} from "@berth/proto";
import { BerthError, type Logger, toBerthError, toConnectError } from "@berth/service-kit";
import { create, type DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { NodeDoor } from "./node-door.ts";
import { OutgoingReports } from "./outgoing-reports.ts";

/** What a client of one session is made with. */
export interface InMemoryOptions {
  readonly own: DialCredentials;
  /** Aborted when the way to the cluster-agent is cut; calls then fail with UNAVAILABLE. */
  readonly cut: AbortSignal;
  readonly onRegistered: () => void;
  readonly logger: Logger;
}

/**
 * The cluster-agent's services as a node-agent calls them, in this process: its handlers get the messages
 * themselves, which neither side changes once they are written.
 */
export function inMemoryClient(door: NodeDoor, options: InMemoryOptions): NodeServiceClient {
  const { own, cut, onRegistered, logger } = options;
  const closing = new AbortController();
  const { authorization, enrolmentAuthorization } = own;
  const limits = (call: { readonly timeoutMs: number; readonly signal: AbortSignal }) => ({
    timeoutMs: call.timeoutMs,
    signals: [call.signal, cut, closing.signal],
  });
  const enrol = (bearer: string): NonNullable<NodeServiceClient["enrol"]> => {
    return async (request, call) => {
      const context = contextOf(EnrolmentService.method.enrol, bearer, call.signal);
      const answer = async () => door.enrolment.enrol(request, context);
      const response = await asGrpc(until(answer(), limits(call)), logger);
      return create(EnrolResponseSchema, response);
    };
  };
  return {
    enrol: enrolmentAuthorization === undefined ? undefined : enrol(enrolmentAuthorization),
    register: async (request, call) => {
      const context = contextOf(NodeService.method.register, authorization, call.signal);
      const answer = async () => door.nodes.register(request, context);
      const response = await asGrpc(until(answer(), limits(call)), logger);
      onRegistered();
      return create(NodeRegisterResponseSchema, response);
    },
    report: () => openReport(door, options, closing.signal),
    close: () => closing.abort(),
  };
}

function openReport(
  door: NodeDoor,
  { own, cut, logger }: InMemoryOptions,
  closing: AbortSignal,
): ReportCall {
  const ending = new AbortController();
  const outgoing = new OutgoingReports();
  const end = () => {
    ending.abort();
    outgoing.end();
  };
  const signals = [cut, closing];
  for (const signal of signals) signal.addEventListener("abort", end, { once: true });
  if (signals.some(({ aborted }) => aborted)) end();
  const context = contextOf(NodeService.method.report, own.authorization, ending.signal);
  const answer = async () => {
    try {
      return create(NodeReportResponseSchema, await door.nodes.report(outgoing, context));
    } finally {
      outgoing.end();
      for (const signal of signals) signal.removeEventListener("abort", end);
    }
  };
  const ended = asGrpc(answer(), logger);
  // The link hears of it when it waits for it; a stream that is given up before has nobody to tell.
  ended.catch(() => undefined);
  return { write: (message, sent) => outgoing.write(message, sent), ended, cancel: end };
}

/** What a handler may look at of a call; an address there is none. */
function contextOf(method: DescMethod, authorization: string, signal: AbortSignal): HandlerContext {
  return {
    method,
    service: method.parent,
    signal,
    timeoutMs: () => undefined,
    requestMethod: "POST",
    requestHeader: new Headers({ authorization }),
    responseHeader: new Headers(),
    responseTrailer: new Headers(),
    protocolName: "in-memory",
    values: createContextValues(),
    url: `memory:///${method.parent.typeName}/${method.name}`,
  };
}

/** An answer, unless a signal is aborted (UNAVAILABLE) or the time is over (DEADLINE_EXCEEDED) before. */
async function until<T>(
  answer: Promise<T>,
  limits: { readonly timeoutMs: number; readonly signals: readonly AbortSignal[] },
): Promise<T> {
  const { timeoutMs, signals } = limits;
  const given = Promise.withResolvers<never>();
  const cut = () => given.reject(new BerthError("UNAVAILABLE", "the way to the agent is cut"));
  const late = () => given.reject(new BerthError("DEADLINE_EXCEEDED", `${timeoutMs} ms are over`));
  const timer = setTimeout(late, timeoutMs);
  for (const signal of signals) signal.addEventListener("abort", cut, { once: true });
  if (signals.some(({ aborted }) => aborted)) cut();
  try {
    return await Promise.race([answer, given.promise]);
  } finally {
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", cut);
  }
}

/** A failure in the form of grpc-js: the number of the status, the message without its name. */
async function asGrpc<T>(call: Promise<T>, logger: Logger): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    if (toBerthError(thrown).reason === "INTERNAL") {
      logger.error("a call failed", { err: thrown });
    }
    const error = ConnectError.from(toConnectError(thrown), Code.Unavailable);
    // What was cut on this side is a way that is not there, for the node-agent.
    const code = error.code === Code.Canceled ? Code.Unavailable : error.code;
    throw Object.assign(new Error(error.rawMessage, { cause: thrown }), { code });
  }
}
