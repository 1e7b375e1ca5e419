import {
  type NodeRegisterRequest,
  type NodeRegisterResponse,
  type NodeReportRequest,
  type NodeReportResponse,
  NodeService,
} from "@berth/proto";
import {
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";

/** One open Report stream. */
export interface ReportCall {
  /** Sends one message; `sent` runs when the transport has taken it, never if the stream ends first. */
  write(message: NodeReportRequest, sent: () => void): void;
  /** Settles when the stream ends: with the server's answer, or rejects with a grpc ServiceError. */
  readonly ended: Promise<NodeReportResponse>;
  /** Ends the stream at once. */
  cancel(): void;
}

/** The cluster-agent's NodeService as a node-agent calls it. */
export interface NodeServiceClient {
  /** Registers; rejects with a grpc ServiceError, DEADLINE_EXCEEDED after `timeoutMs`. */
  register(request: NodeRegisterRequest, options: CallOptions): Promise<NodeRegisterResponse>;
  /** Opens the Report stream. */
  report(): ReportCall;
  /** Closes the connection and whatever runs on it. */
  close(): void;
}

/** Limits of one unary call. */
export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Where to dial and what to show there. */
export interface DialOptions {
  /** "host:port", IPv6 hosts in brackets. */
  readonly target: string;
  /** Credential for the header `authorization: Bearer <token>`. */
  readonly token: string;
}

/**
 * Both sides notice a half-open link within 8 s: a ping every 4 s, also without calls, answered within
 * 4 s. One connection per client (no pool shared in the process), no proxy from the environment, no
 * DNS TXT look-up, no retries: the link's own loop decides when to try again.
 */
const CHANNEL_OPTIONS = {
  "grpc.keepalive_time_ms": 4_000,
  "grpc.keepalive_timeout_ms": 4_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_retries": 0,
  "grpc.max_receive_message_length": 65_536,
};

/** Client over one HTTP/2 cleartext connection, which is opened by the first call. */
export function dialNodeService(options: DialOptions): NodeServiceClient {
  const client = new Client(options.target, credentials.createInsecure(), CHANNEL_OPTIONS);
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${options.token}`);
  return {
    register: (request, callOptions) => register(client, metadata, { request, ...callOptions }),
    report: () => report(client, metadata),
    close: () => client.close(),
  };
}

function register(
  client: Client,
  metadata: Metadata,
  call: CallOptions & { request: NodeRegisterRequest },
): Promise<NodeRegisterResponse> {
  const { path, encode, decode } = codec(NodeService.method.register);
  const answer = Promise.withResolvers<NodeRegisterResponse>();
  const options = { deadline: Date.now() + call.timeoutMs };
  const running = client.makeUnaryRequest(
    path,
    encode,
    decode,
    call.request,
    metadata,
    options,
    (error, response) => {
      if (response !== undefined && error === null) answer.resolve(response);
      else answer.reject(error ?? new Error("the call ended without an answer"));
    },
  );
  const cancel = () => running.cancel();
  call.signal.addEventListener("abort", cancel, { once: true });
  if (call.signal.aborted) cancel();
  return answer.promise.finally(() => call.signal.removeEventListener("abort", cancel));
}

function report(client: Client, metadata: Metadata): ReportCall {
  const { path, encode, decode } = codec(NodeService.method.report);
  const ended = Promise.withResolvers<NodeReportResponse>();
  const stream = client.makeClientStreamRequest(
    path,
    encode,
    decode,
    metadata,
    (error, response) => {
      if (response !== undefined && error === null) ended.resolve(response);
      else ended.reject(error ?? new Error("the stream ended without an answer"));
    },
  );
  // The callback above tells how the stream ended; an unheard "error" event would end the process.
  stream.on("error", (error: Error) => ended.reject(error));
  return {
    write: (message, sent) => {
      stream.write(message, (error?: Error | null) => {
        if (!error) sent();
      });
    },
    ended: ended.promise,
    cancel: () => stream.cancel(),
  };
}

function codec<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { readonly input: I; readonly output: O },
) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    encode: (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
    decode: (bytes: Buffer): MessageShape<O> => fromBinary(method.output, bytes),
  };
}
