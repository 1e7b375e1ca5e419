import { once } from "node:events";
import net from "node:net";
import type { Part } from "@berth/service-kit";

/** What a {@link LinkGate} stands before. */
export interface LinkGateOptions {
  /** The control-plane's agent port: "http://127.0.0.1:7443". */
  readonly target: string;
  /** Loopback address to listen on. */
  readonly host: string;
}

/**
 * A TCP relay between one cluster-agent and the control-plane, so that the link is a real one and can be
 * cut like a real one. While it is cut, connections are torn down, open ones and new ones.
 */
export class LinkGate implements Part {
  readonly name = "link gate";
  readonly #options: LinkGateOptions;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #cut = false;

  constructor(options: LinkGateOptions) {
    this.#options = options;
    this.#server = net.createServer((near) => this.#relay(near));
    // An accept that fails is the other end's failure to connect.
    this.#server.on("error", () => undefined);
  }

  /** URL that the cluster-agent dials, once the gate is started. */
  get url(): string {
    const { host, target } = this.#options;
    const address = this.#server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    return `${new URL(target).protocol}//${host.includes(":") ? `[${host}]` : host}:${port}`;
  }

  async start(): Promise<void> {
    this.#server.listen({ host: this.#options.host, port: 0 });
    await once(this.#server, "listening");
  }

  async stop(): Promise<void> {
    this.setCut(true);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
  }

  /** Cuts the link, or lets it come back. */
  setCut(cut: boolean): void {
    this.#cut = cut;
    if (!cut) return;
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(near: net.Socket): void {
    if (this.#cut) {
      near.destroy();
      return;
    }
    const { hostname, port, protocol } = new URL(this.#options.target);
    const usual = protocol === "https:" ? 443 : 80;
    const host = hostname.replace(/^\[|\]$/g, "");
    const far = net.connect({ host, port: port === "" ? usual : Number(port), noDelay: true });
    near.setNoDelay(true);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      // "close" follows every error and ends the other side too.
      socket.on("error", () => undefined);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
