import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** Opcodes of WebSocket frames (RFC 6455, section 5.2). */
export const OPCODE = { continuation: 0x0, text: 0x1, close: 0x8, ping: 0x9 } as const;

/** A TCP connection of a client that does not keep to the rules: it reads, or not, as it is told. */
export class RawSocket {
  readonly #socket: Socket;
  readonly #received: Buffer[] = [];
  readonly #closed: Promise<void>;
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    // A server that throws the client out resets the connection: that is what the tests wait for.
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => this.#received.push(data));
    this.#closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#isClosed = true;
        resolve();
      });
    });
  }

  /** Connects and says nothing. */
  static async connect(port: number): Promise<RawSocket> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new RawSocket(socket);
  }

  /** Connects and upgrades to WebSocket. */
  static async upgraded(port: number): Promise<RawSocket> {
    const client = await RawSocket.connect(port);
    const answer = once(client.#socket, "data");
    client.#socket.write(
      `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    const [head] = await answer;
    if (!String(head).startsWith("HTTP/1.1 101")) throw new Error(`no upgrade: ${head}`);
    client.#received.length = 0;
    return client;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Bytes that came since the upgrade. */
  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  /** Reads nothing from now on; what comes fills the kernel's buffers. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Sends bytes; resolves when the kernel has taken them or the connection is gone. */
  async send(bytes: Buffer | string): Promise<void> {
    if (this.#isClosed || this.#socket.write(bytes)) return;
    const drained = new Promise((resolve) => this.#socket.once("drain", resolve));
    await Promise.race([drained, this.#closed]);
  }

  /** Resolves when the connection is gone. */
  closed(): Promise<void> {
    return this.#closed;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** The first bytes of a client's frame that says it holds `length` bytes, masked with zeros. */
export function frameHead(opcode: number, length: number, isLast = true): Buffer {
  const head = Buffer.alloc(14);
  head[0] = (isLast ? 0x80 : 0) | opcode;
  if (length < 126) {
    head[1] = 0x80 | length;
    return head.subarray(0, 6);
  }
  if (length < 65_536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(length, 2);
    return head.subarray(0, 8);
  }
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** A whole frame of a client. */
export function frame(opcode: number, payload: Buffer | string, isLast = true): Buffer {
  const body = Buffer.from(payload);
  return Buffer.concat([frameHead(opcode, body.length, isLast), body]);
}

/** The code of a close frame at the end of what a server sent; undefined when there is none. */
export function closeCode(received: Buffer): number | undefined {
  for (let at = 0; at + 2 <= received.length; ) {
    const length = received[at + 1] ?? 0;
    if (((received[at] ?? 0) & 0x0f) === OPCODE.close) return received.readUInt16BE(at + 2);
    at += 2 + length;
  }
  return undefined;
}
