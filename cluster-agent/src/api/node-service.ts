import {
  type NodeRegisterRequest,
  type NodeRegisterResponse,
  NodeRegisterResponseSchema,
  type NodeReportRequest,
  type NodeReportResponse,
  NodeReportResponseSchema,
  NodeService,
} from "@berth/proto";
import { type Authenticate, BerthError, type Logger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  checkFingerprint,
  checkRegistration,
  FINGERPRINT_LIMITS,
} from "../nodes/check-fingerprint.ts";
import type { Registration } from "../nodes/node-registration.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { speakerRefusal } from "../nodes/node-speaker.ts";
import type { AdmitNode } from "./node-admission.ts";
import { nodeSpeaker } from "./node-caller.ts";
import { ReportSequence, StreamReader, type StreamStep } from "./report-stream.ts";

/** What {@link nodeRoutes} serves from. */
export interface NodeServiceOptions {
  readonly clusterId: string;
  readonly nodes: NodeRegistry;
  /** Tells by its key whom a call speaks for. */
  readonly authenticate: Authenticate;
  /** Decides whether a node may ask to join. */
  readonly admit: AdmitNode;
  readonly logger: Logger;
  /** What node-agents are told, in ms. */
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
  /** Aborted when the agent stops: streams then end in good order. */
  readonly stopping: AbortSignal;
}

/** The routes of NodeService, for any Connect server or an in-memory transport. */
export function nodeRoutes(options: NodeServiceOptions): (router: ConnectRouter) => void {
  return (router) => {
    router.service(NodeService, {
      register: (request, context) => register(options, request, context),
      report: (requests, context) => report(options, requests, context),
    });
  };
}

async function register(
  { clusterId, nodes, intervals, logger, authenticate, admit }: NodeServiceOptions,
  request: NodeRegisterRequest,
  context: HandlerContext,
): Promise<NodeRegisterResponse> {
  const asked = checkRegistration(request);
  const refusal = speakerRefusal(nodeSpeaker(authenticate, context), asked);
  // One that speaks for another node is refused below, and asks no policy.
  if (refusal === undefined) await admit(asked, context.signal);
  const outcome = await nodes.register(asked, () => nodeSpeaker(authenticate, context));
  if (outcome.kind === "refused") throw new BerthError(outcome.reason, outcome.message);
  const { nodeId, id } = outcome.registration;
  logger.info("node registered", {
    node: nodeId,
    incarnation: asked.incarnation,
    gpus: asked.inventory.gpus.length,
  });
  return create(NodeRegisterResponseSchema, {
    nodeId,
    clusterId,
    registrationId: id,
    gpuIntervalMs: intervals.gpuMs,
    hostIntervalMs: intervals.hostMs,
    ttlMs: intervals.ttlMs,
  });
}

async function report(
  options: NodeServiceOptions,
  requests: AsyncIterable<NodeReportRequest>,
  context: HandlerContext,
): Promise<NodeReportResponse> {
  const sequence = new ReportSequence((id) => options.nodes.registration(id));
  // Asked anew for each message: the stream of a key that was enrolled away or removed ends.
  const speakerId = () => nodeSpeaker(options.authenticate, context).id;
  // A stream that is silent for that long is of no use to either side; the agent registers again.
  const silenceMs = 2 * options.intervals.ttlMs;
  const reader = new StreamReader(requests[Symbol.asyncIterator](), silenceMs);
  reader.endWith(options.stopping);
  reader.endWith(context.signal);
  let closed: (() => void) | undefined;
  try {
    for (;;) {
      const { registration } = sequence;
      const step = await reader.next();
      if (step.kind !== "message") return endOf(step.kind, { ...options, registration, silenceMs });
      const next = sequence.next(step.message, speakerId());
      if (closed === undefined) {
        closed = options.nodes.streamOpened(next);
        reader.endWith(next.ended);
      }
      await take(options, next, step.message);
    }
  } finally {
    reader.close();
    closed?.();
  }
}

/** The answer to a stream that is over; throws when it was cut, or may not go on. */
function endOf(
  kind: Exclude<StreamStep<unknown>["kind"], "message">,
  stream: {
    readonly stopping: AbortSignal;
    readonly registration: Registration | undefined;
    readonly silenceMs: number;
  },
): NodeReportResponse {
  if (kind === "end") return ended("the stream ended");
  if (kind === "silent") return ended(`no report for ${stream.silenceMs} ms`);
  if (stream.stopping.aborted) return ended("the cluster-agent is stopping");
  stream.registration?.ended.throwIfAborted();
  throw new BerthError("CANCELED", "the stream was cut");
}

async function take(
  { nodes }: NodeServiceOptions,
  registration: Registration,
  message: NodeReportRequest,
): Promise<void> {
  if (message.gpus.length > FINGERPRINT_LIMITS.gpus) {
    const limit = FINGERPRINT_LIMITS.gpus;
    throw new BerthError("INVALID_ARGUMENT", `gpus: expected at most ${limit} samples`);
  }
  await nodes.report(registration, {
    fingerprint: message.fingerprint && checkFingerprint(message.fingerprint),
    host: message.host,
    gpus: message.gpus,
    health: message.health,
  });
}

function ended(reason: string): NodeReportResponse {
  return create(NodeReportResponseSchema, { reason });
}
