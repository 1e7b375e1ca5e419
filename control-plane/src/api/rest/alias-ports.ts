import type http from "node:http";
import {
  createBoundedServer,
  isLoopback,
  type ListenAddress,
  type Logger,
  listenError,
  type Part,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";

/** One further port of the REST server. */
export interface AliasPort {
  /** For the log: "cluster registry". */
  readonly name: string;
  readonly port: number;
  /** Variable to name when the port is taken. */
  readonly setting: string;
  /** Paths that mean another one there: `/subjects` of the subject metrics. The query stays. */
  readonly paths?: Readonly<Record<string, string>>;
}

/** What {@link aliasPorts} opens. */
export interface AliasPortsOptions {
  /** Not opened when others than this machine could reach it. */
  readonly host: string;
  readonly ports: readonly AliasPort[];
  readonly logger: Logger;
  /** Called with the real port of each that listens. */
  readonly onListening?: (alias: AliasPort, port: number) => void;
}

/**
 * The REST server on further ports of this machine, where clients of the seeds look for parts of it. A port that
 * is taken is told in the log and changes nothing else: everything is on the main port. Comes behind the part
 * that makes `rest` listen.
 */
export function aliasPorts(rest: FastifyInstance, options: AliasPortsOptions): Part {
  const servers: http.Server[] = [];
  return {
    name: "alias ports",
    async start() {
      if (!isLoopback(options.host)) return;
      await rest.ready();
      for (const alias of options.ports) {
        const server = await opened(rest, alias, options);
        if (server !== undefined) servers.push(server);
      }
    },
    async stop() {
      await Promise.all(servers.map(closed));
    },
  };
}

/** Undefined when the port cannot be opened. */
function opened(
  rest: FastifyInstance,
  alias: AliasPort,
  { host, logger, onListening }: AliasPortsOptions,
): Promise<http.Server | undefined> {
  const { name, port, setting, paths = {} } = alias;
  const address: ListenAddress = { host, port, setting };
  const server = createBoundedServer((request, response) => {
    const [path = "", ...query] = (request.url ?? "/").split("?");
    const own = Object.hasOwn(paths, path) ? paths[path] : undefined;
    if (own !== undefined) request.url = [own, ...query].join("?");
    rest.routing(request, response);
  });
  return new Promise((resolve) => {
    server.once("error", (cause) => {
      const { message } = listenError(cause, address);
      logger.warn("an alias port is not served", { alias: name, setting, why: message });
      resolve(undefined);
    });
    server.listen({ host, port }, () => {
      // Without a listener an accept that fails (no file descriptors left) would end the process.
      server.on("error", (err) => logger.error("http server error", { err }));
      const bound = server.address();
      if (typeof bound === "object" && bound !== null) onListening?.(alias, bound.port);
      resolve(server);
    });
  });
}

function closed(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
