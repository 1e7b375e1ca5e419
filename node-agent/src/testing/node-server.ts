import { createHash } from "node:crypto";
import {
  EnrolmentService,
  type EnrolRequest,
  type EnrolResponse,
  EnrolResponseSchema,
  type NodeRegisterRequest,
  type NodeRegisterResponse,
  NodeRegisterResponseSchema,
  type NodeReportRequest,
  type NodeReportResponse,
  NodeReportResponseSchema,
  NodeService,
} from "@berth/proto";
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type handleClientStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerReadableStream,
  status,
} from "@grpc/grpc-js";

/** How a {@link NodeServer} answers. */
export interface NodeServerOptions {
  /** Port on 127.0.0.1; 0 or absent lets the system choose. */
  readonly port?: number;
  readonly gpuIntervalMs?: number;
  readonly hostIntervalMs?: number;
  readonly ttlMs?: number;
  /** Secret of the enrolment token that it accepts, any number of times. */
  readonly secret: string;
  /** Certificate (PEM, with the CA's) and key; cleartext without them. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

/** A small cluster-agent on grpc-js that records what it hears: the other side in tests. */
export interface NodeServer {
  readonly port: number;
  readonly enrolments: EnrolRequest[];
  /** Forgets every key that was enrolled. */
  forgetKeys(): void;
  readonly registrations: NodeRegisterRequest[];
  readonly reports: NodeReportRequest[];
  /** Refuses every registration with this code until it is called with undefined. */
  refuse(code: status | undefined): void;
  /** Ends the open streams in good order. */
  endStreams(reason: string): void;
  /** Stops reading (so the client's writes back up) or goes on. */
  setReading(reading: boolean): void;
  /** Number of Report streams that are open. */
  openStreams(): number;
  /** Drops every connection and stops listening. */
  kill(): void;
}

type ReportStream = ServerReadableStream<NodeReportRequest, NodeReportResponse>;

/** Starts a {@link NodeServer}; resolves when it listens. */
export async function startNodeServer(options: NodeServerOptions): Promise<NodeServer> {
  const registrations: NodeRegisterRequest[] = [];
  const enrolments: EnrolRequest[] = [];
  const keys = new Set<string>();
  const reports: NodeReportRequest[] = [];
  const open = new Map<ReportStream, (reason: string) => void>();
  let refusal: status | undefined;
  let reading = true;
  const enrol: handleUnaryCall<EnrolRequest, EnrolResponse> = (call, reply) => {
    enrolments.push(call.request);
    if (bearer(call.metadata) !== options.secret) {
      reply({ code: status.UNAUTHENTICATED, details: "authorization: not a known token" });
      return;
    }
    keys.add(Buffer.from(call.request.keySha256).toString("hex"));
    reply(null, create(EnrolResponseSchema, { subjectId: call.request.subjectId }));
  };
  const register: handleUnaryCall<NodeRegisterRequest, NodeRegisterResponse> = (call, reply) => {
    if (!keys.has(sha256(bearer(call.metadata)))) {
      reply({ code: status.UNAUTHENTICATED, details: "authorization: not an enrolled key" });
      return;
    }
    registrations.push(call.request);
    if (refusal === undefined) reply(null, answer(options, registrations.length, call.request));
    else reply({ code: refusal, details: "refused by the test" });
  };
  const report: handleClientStreamingCall<NodeReportRequest, NodeReportResponse> = (
    call,
    reply,
  ) => {
    const end = (reason: string) => {
      open.delete(call);
      reply(null, create(NodeReportResponseSchema, { reason }));
    };
    open.set(call, end);
    call.on("data", (message: NodeReportRequest) => reports.push(message));
    for (const event of ["end", "cancelled", "error"]) call.on(event, () => open.delete(call));
    if (!reading) call.pause();
  };
  const server = new Server();
  server.addService(
    {
      register: definition(NodeService.method.register),
      report: definition(NodeService.method.report),
    },
    { register, report },
  );
  server.addService({ enrol: definition(EnrolmentService.method.enrol) }, { enrol });
  const port = await bind(server, options);
  return {
    port,
    enrolments,
    forgetKeys: () => keys.clear(),
    registrations,
    reports,
    refuse: (code) => {
      refusal = code;
    },
    endStreams: (reason) => {
      for (const end of [...open.values()]) end(reason);
    },
    setReading: (next) => {
      reading = next;
      for (const call of open.keys()) next ? call.resume() : call.pause();
    },
    openStreams: () => open.size,
    kill: () => server.forceShutdown(),
  };
}

function answer(options: NodeServerOptions, count: number, request: NodeRegisterRequest) {
  return create(NodeRegisterResponseSchema, {
    nodeId: request.nodeId,
    clusterId: "test-cluster",
    registrationId: `registration-${count}`,
    gpuIntervalMs: options.gpuIntervalMs ?? 100,
    hostIntervalMs: options.hostIntervalMs ?? 250,
    ttlMs: options.ttlMs ?? 15_000,
  });
}

function bearer(metadata: Metadata): string {
  return String(metadata.get("authorization")[0]).replace(/^Bearer /, "");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function bind(server: Server, { port = 0, tls }: NodeServerOptions): Promise<number> {
  const bound = Promise.withResolvers<number>();
  const pairs = tls && [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }];
  const credentials = pairs
    ? ServerCredentials.createSsl(null, pairs)
    : ServerCredentials.createInsecure();
  server.bindAsync(`127.0.0.1:${port}`, credentials, (error, actual) => {
    if (error === null) bound.resolve(actual);
    else bound.reject(error);
  });
  return bound.promise;
}

function definition<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { readonly input: I; readonly output: O },
): MethodDefinition<MessageShape<I>, MessageShape<O>> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind !== "unary",
    responseStream: false,
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}
