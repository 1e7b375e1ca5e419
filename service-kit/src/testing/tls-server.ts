import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  createHttp2Server,
  type Http2Server,
  type Http2ServerOptions,
} from "../http/http2-server.ts";
import { type Authority, openAuthority } from "../identity/authority.ts";
import { silentLogger } from "../log.ts";

/** A TLS server with a CA of its own in a temporary directory. */
export interface TlsServer {
  readonly server: Http2Server;
  readonly authority: Authority;
  /** Directory with the CA's files. */
  readonly directory: string;
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts a server that answers "hello", with a certificate for 127.0.0.1 or other names. */
export async function startTlsServer(
  options: {
    readonly names?: readonly string[];
    readonly handshakeLimitMs?: number;
    /** Other options of the server. */
    readonly server?: Partial<Http2ServerOptions>;
  } = {},
): Promise<TlsServer> {
  const { handshakeLimitMs = 10_000, names = ["127.0.0.1"] } = options;
  const directory = mkdtempSync(path.join(tmpdir(), "berth-tls-"));
  const authority = await openAuthority(directory);
  const server = createHttp2Server({
    name: "test",
    address: { host: "127.0.0.1", port: 0, setting: "BERTH_AGENT_PORT" },
    logger: silentLogger,
    tls: { certificate: () => authority.issue(names), handshakeLimitMs },
    handler: (_request, response) => response.end("hello"),
    ...options.server,
  });
  await server.start();
  return {
    server,
    authority,
    directory,
    url: `https://127.0.0.1:${server.port}`,
    async stop() {
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
