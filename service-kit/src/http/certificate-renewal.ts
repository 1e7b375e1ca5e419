import type http2 from "node:http2";
import type { ServerCertificate } from "../identity/authority.ts";
import type { Logger } from "../log.ts";

/** Where a TLS server gets its certificate. */
export interface ServerTls {
  /** A new certificate: asked at start, and again when a third of its life is left. */
  certificate(): Promise<ServerCertificate>;
  /** Time between two looks at the certificate's age, in ms (an hour by default). */
  readonly checkIntervalMs?: number;
  /** Longest time for a TLS handshake, in ms (10,000 by default). */
  readonly handshakeLimitMs?: number;
}

const CHECK_INTERVAL_MS = 3_600_000;
const LIFE_LEFT = 1 / 3;

/** Keeps the certificate of a TLS server valid while it runs; open connections keep theirs. */
export class CertificateRenewal {
  readonly #server: http2.Http2SecureServer;
  readonly #tls: ServerTls;
  readonly #logger: Logger;
  #renewAtMs = 0;
  #renewing = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(server: http2.Http2SecureServer, tls: ServerTls, logger: Logger) {
    this.#server = server;
    this.#tls = tls;
    this.#logger = logger;
  }

  /** Gives the server a new certificate; rejects when none can be had. */
  async renew(): Promise<void> {
    const { key, cert, notAfter } = await this.#tls.certificate();
    this.#server.setSecureContext({ key, cert, minVersion: "TLSv1.2" });
    const leftMs = notAfter.getTime() - Date.now();
    this.#renewAtMs = Date.now() + leftMs * (1 - LIFE_LEFT);
  }

  /** Looks at the certificate's age from time to time, until {@link stop}. */
  watch(): void {
    const intervalMs = this.#tls.checkIntervalMs ?? CHECK_INTERVAL_MS;
    this.#timer = setInterval(() => void this.#check(), intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #check(): Promise<void> {
    if (this.#renewing || Date.now() < this.#renewAtMs) return;
    this.#renewing = true;
    try {
      await this.renew();
      this.#logger.info("the server's certificate was renewed");
    } catch (err) {
      this.#logger.error("the server's certificate cannot be renewed", { err });
    } finally {
      this.#renewing = false;
    }
  }
}
