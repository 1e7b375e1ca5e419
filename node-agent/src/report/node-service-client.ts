import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import {
  EnrolmentService,
  type EnrolRequest,
  type EnrolResponse,
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

/** The cluster-agent's services as a node-agent calls them. */
export interface NodeServiceClient {
  /**
   * Spends the enrolment token for the agent's own key; rejects with a grpc ServiceError,
   * DEADLINE_EXCEEDED after `timeoutMs`. Undefined when no token is configured.
   */
  readonly enrol:
    | ((request: EnrolRequest, options: CallOptions) => Promise<EnrolResponse>)
    | undefined;
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
  /** "https://host:port", or "http://host:port" for cleartext. */
  readonly url: string;
  /** CA (PEM) that the server's certificate is checked with; for https URLs. */
  readonly ca?: string | undefined;
  /** Header of every call but Enrol: "Bearer <own key>". */
  readonly authorization: string;
  /** Header of Enrol: "Bearer <token>"; undefined when no token is configured. */
  readonly enrolmentAuthorization?: string | undefined;
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

/** Client over one HTTP/2 connection, which is opened by the first call. */
export function dialNodeService(options: DialOptions): NodeServiceClient {
  const { url, authorization, enrolmentAuthorization } = options;
  const channelOptions = { ...CHANNEL_OPTIONS, ...serverNameOptions(url) };
  const client = new Client(targetOf(url), credentialsFor(options), channelOptions);
  const metadata = bearing(authorization);
  const enrol = (request: EnrolRequest, call: CallOptions) =>
    unary(client, EnrolmentService.method.enrol, {
      request,
      metadata: bearing(enrolmentAuthorization ?? ""),
      ...call,
    });
  return {
    enrol: enrolmentAuthorization === undefined ? undefined : enrol,
    register: (request, call) =>
      unary(client, NodeService.method.register, { request, metadata, ...call }),
    report: () => report(client, metadata),
    close: () => client.close(),
  };
}

/** "host:port" of a URL, which gRPC dials; IPv6 hosts keep their brackets. */
export function targetOf(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  const usual = protocol === "https:" ? "443" : "80";
  return `${hostname}:${port === "" ? usual : port}`;
}

function credentialsFor({ url, ca }: DialOptions) {
  const { protocol, hostname } = new URL(url);
  if (protocol === "http:") return credentials.createInsecure();
  // Without a CA of its own grpc-js would trust every public one.
  if (ca === undefined) throw new Error(`the CA of ${url} is not known`);
  const host = hostname.replace(/^\[|\]$/g, "");
  return credentials.createSsl(Buffer.from(ca), null, null, {
    checkServerIdentity: (_servername, certificate) => checkServerIdentity(host, certificate),
  });
}

/**
 * grpc-js gives the host as the TLS server name, which Node refuses for an IP address (RFC 6066 §3
 * does not allow it); a name that nobody has is sent instead. The certificate is checked for the
 * address all the same, see {@link credentialsFor}.
 */
function serverNameOptions(url: string) {
  const { hostname } = new URL(url);
  const isAddress = isIP(hostname) !== 0 || hostname.startsWith("[");
  return isAddress ? { "grpc.ssl_target_name_override": "address.invalid" } : {};
}

function bearing(authorization: string): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", authorization);
  return metadata;
}

function unary<I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethod & { readonly input: I; readonly output: O },
  call: CallOptions & { request: MessageShape<I>; metadata: Metadata },
): Promise<MessageShape<O>> {
  const { path, encode, decode } = codec(method);
  const answer = Promise.withResolvers<MessageShape<O>>();
  const running = client.makeUnaryRequest(
    path,
    encode,
    decode,
    call.request,
    call.metadata,
    { deadline: Date.now() + call.timeoutMs },
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
