import { isUtf8 } from "node:buffer";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { BerthError, toBerthError, toErrorBody } from "../errors.ts";
import { isJsonObject, parseClientJson } from "../json.ts";
import type { Part } from "../lifecycle.ts";
import type { Logger } from "../log.ts";
import type { Authenticate, Principal } from "../principal.ts";
import { typeName } from "../validate.ts";
import { createBoundedServer } from "./bounded-server.ts";
import { boundTraffic, HttpTraffic } from "./http-traffic.ts";
import { type ListenAddress, listenError } from "./listen-error.ts";
import { checkOrigin, type OriginRules } from "./origin.ts";
import { MAX_BODY_BYTES } from "./request-budget.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks; set before any handler runs. */
    principal: Principal;
    /** The body's text as the client sent it; empty without a body, or when it was taken. */
    bodyText: string;
  }
}

/** How {@link createHttpServer} builds a server. */
export interface HttpServerOptions {
  readonly origins: OriginRules;
  readonly authenticate: Authenticate;
  readonly logger: Logger;
  /** What the program's servers share; without it the server has bounds of its own. */
  readonly traffic?: HttpTraffic;
}

/**
 * An HTTP/1.1 server (fastify) with Berth's manners: Host and Origin are checked, every request gets
 * a principal, bodies are JSON and need a JSON content type, and every failure answers with the
 * error body of the error table. Routes validate their own bodies with `parse`. Bodies and replies that are
 * held at a time are bounded (see `boundTraffic`).
 */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const server: FastifyInstance = Fastify({
    serverFactory: (handle) => createBoundedServer(handle),
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: true,
    forceCloseConnections: true,
    // The bounded server answers them, when the replies before have left.
    clientErrorHandler: () => {},
    routerOptions: { maxParamLength: 512, ignoreTrailingSlash: true },
    // URLs that the router cannot read come past every hook.
    frameworkErrors: (thrown, _request, reply) => sendError(reply, fromFastify(thrown)),
  });
  // Without a listener an accept that fails (no file descriptors left) would end the process.
  server.server.on("error", (err) => options.logger.error("http server error", { err }));
  readJsonBodies(server);
  server.decorateRequest("principal");
  server.addHook("onRequest", async (request) => {
    checkOrigin(request.headers, options.origins);
    request.principal = options.authenticate(request.headers);
    checkEncoding(request.headers["content-encoding"]);
  });
  boundTraffic(server, options.traffic ?? new HttpTraffic());
  server.setNotFoundHandler((request, reply) => {
    const message = `no route ${request.method} ${request.url.split("?")[0]}`;
    return sendError(reply, new BerthError("NOT_FOUND", message));
  });
  server.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown);
    if (error.httpStatus >= 500) {
      const { method, url } = request;
      options.logger.error("request failed", { method, url: url.split("?")[0], err: thrown });
    }
    return sendError(reply, error);
  });
  return server;
}

function sendError(reply: FastifyReply, error: BerthError): FastifyReply {
  return reply.status(error.httpStatus).send(toErrorBody(error));
}

/** The {@link Part} that makes a fastify server listen, and closes it. */
export function listening(server: FastifyInstance, address: ListenAddress, name: string): Part {
  return {
    name,
    async start() {
      try {
        await server.listen({ host: address.host, port: address.port });
      } catch (cause) {
        throw listenError(cause, address);
      }
    },
    async stop() {
      await server.close();
    },
  };
}

/**
 * Bodies are JSON. One that is none is refused after the parser, which would end the connection: all of the body has
 * come, and the next request on the connection is as good as any.
 */
function readJsonBodies(server: FastifyInstance): void {
  const refusals = new WeakMap<FastifyRequest, BerthError>();
  server.decorateRequest("bodyText", "");
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    try {
      done(null, jsonOf(request, body as Buffer));
    } catch (thrown) {
      refusals.set(request, toBerthError(thrown));
      done(null, undefined);
    }
  });
  server.addHook("preValidation", (request, _reply, done) => done(refusals.get(request)));
}

function jsonOf(request: FastifyRequest, bytes: Buffer): unknown {
  if (!isUtf8(bytes)) {
    throw new BerthError("INVALID_ARGUMENT", "the request body is not UTF-8 text");
  }
  request.bodyText = bytes.toString("utf8");
  return request.bodyText === "" ? undefined : parseClientJson(request.bodyText);
}

function checkEncoding(encoding: string | undefined): void {
  if (encoding === undefined || encoding.toLowerCase() === "identity") return;
  const message = `content-encoding: ${encoding.slice(0, 50)} is not understood; send the body as it is`;
  throw new BerthError("UNSUPPORTED_MEDIA_TYPE", message);
}

/** The body as a JSON object; INVALID_ARGUMENT when it is missing or of another type. */
export function bodyObject(request: FastifyRequest): Record<string, unknown> {
  const body = request.body;
  if (isJsonObject(body)) return body;
  const got = body === undefined ? "nothing" : typeName(body);
  throw new BerthError("INVALID_ARGUMENT", `the request body: expected a JSON object, got ${got}`);
}

/**
 * The body's text and what was parsed of it, which the request holds no more: for handlers that go on for long with
 * a part of it.
 */
export function takeBody(request: FastifyRequest): {
  readonly text: string;
  readonly body: unknown;
} {
  const { bodyText: text, body } = request;
  request.bodyText = "";
  request.body = undefined;
  return { text, body };
}

function fromFastify(thrown: unknown): BerthError {
  if (!(thrown instanceof Error)) return toBerthError(thrown);
  const { code, statusCode, message }: Error & { code?: unknown; statusCode?: unknown } = thrown;
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    const text = "the request body needs the header content-type: application/json";
    return new BerthError("UNSUPPORTED_MEDIA_TYPE", text, { cause: thrown });
  }
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    const text = `the request body is larger than ${MAX_BODY_BYTES} bytes`;
    return new BerthError("PAYLOAD_TOO_LARGE", text, { cause: thrown });
  }
  if (typeof code === "string" && typeof statusCode === "number" && statusCode < 500) {
    return new BerthError("INVALID_ARGUMENT", message, { cause: thrown });
  }
  return toBerthError(thrown);
}
