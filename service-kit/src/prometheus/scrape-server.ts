import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type ListenAddress, listenError } from "../http/listen-error.ts";
import { type OriginRules, originRefusal } from "../http/origin.ts";
import type { Part } from "../lifecycle.ts";
import type { Logger } from "../log.ts";
import type { ScrapeRegistry } from "./scrape-registry.ts";

/** What {@link scrapeServer} serves and where. */
export interface ScrapeServerOptions {
  readonly registry: ScrapeRegistry;
  /** Asked when it starts; port 0 takes a free one. */
  readonly address: ListenAddress;
  readonly origins: OriginRules;
  readonly logger: Logger;
  /** Called with the real port once it listens. */
  readonly onListening?: (port: number) => void;
}

const LIMITS = { requestTimeout: 5_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 };
const MAX_CONNECTIONS = 16;

/**
 * An HTTP server that answers `GET /metrics` and nothing else, for programs without a REST surface. A
 * port that is taken is told in the log and does not stop the program: it works without being watched.
 */
export function scrapeServer(options: ScrapeServerOptions): Part {
  const { address, logger } = options;
  const server = createServer(LIMITS, (request, response) => {
    void answer(options, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return {
    name: "metrics",
    async start() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.once("error", (cause) => {
        logger.warn("metrics are not served", { why: listenError(cause, address).message });
        resolve();
      });
      server.listen({ host: address.host, port: address.port }, () => {
        server.removeAllListeners("error");
        server.on("error", (err) => logger.error("metrics server error", { err }));
        const at = server.address();
        if (typeof at === "object" && at !== null) options.onListening?.(at.port);
        resolve();
      });
      await promise;
    },
    async stop() {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      await promise;
    },
  };
}

async function answer(
  { registry, origins, logger }: ScrapeServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.resume();
  const refusal = originRefusal(request.headers, origins);
  if (refusal !== undefined) return end(response, 403, `${refusal}\n`);
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (!isRead || request.url?.split("?")[0] !== "/metrics") {
    return end(response, 404, "expected GET /metrics\n");
  }
  try {
    const text = await registry.text();
    response.setHeader("content-type", registry.contentType);
    end(response, 200, text);
  } catch (err) {
    logger.error("metrics cannot be told", { err });
    end(response, 500, "the metrics cannot be told\n");
  }
}

function end(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.end(text);
}
