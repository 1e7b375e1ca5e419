import { readSync, writeSync } from "node:fs";
import {
  decodeBody,
  encodeFrame,
  FRAME_PREFIX_BYTES,
  type Frame,
  readBodyLength,
} from "../protocol/frames.ts";

const RETRY_MS = 1;
const MAX_FRAME_BYTES = 512 * 1024 * 1024;

/** The host has closed its end: there is nobody left to work for. */
export class ChannelClosedError extends Error {
  override readonly name = "ChannelClosedError";
}

/** Frames over two blocking file descriptors. Nothing else of the process runs while it waits. */
export class Channel {
  readonly #input: number;
  readonly #output: number;
  readonly #nap = new Int32Array(new SharedArrayBuffer(4));

  constructor(input: number, output: number) {
    this.#input = input;
    this.#output = output;
  }

  /**
   * Waits for one byte and leaves it in `bell`. It is there as soon as the system call has taken it, even when
   * this thread is stopped before the call returns.
   */
  awaitBell(bell: Uint8Array): void {
    if (this.#retry(() => readSync(this.#input, bell, 0, 1, null)) === 0) {
      throw new ChannelClosedError("the host closed the channel");
    }
  }

  /** Waits for the next frame; throws `ChannelClosedError` when the host is gone. */
  receive(): Frame {
    const length = readBodyLength(this.#read(FRAME_PREFIX_BYTES), MAX_FRAME_BYTES);
    return decodeBody(this.#read(length));
  }

  /** Writes one frame completely; throws `ChannelClosedError` when the host is gone. */
  send(header: Readonly<Record<string, unknown>>, sections: readonly Uint8Array[] = []): void {
    for (const chunk of encodeFrame(header, sections)) this.#write(chunk);
  }

  #read(count: number): Uint8Array {
    const target = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const read = this.#retry(() => readSync(this.#input, target, at, count - at, null));
      if (read === 0) throw new ChannelClosedError("the host closed the channel");
      at += read;
    }
    return target;
  }

  #write(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      at += this.#retry(() => writeSync(this.#output, chunk, at, chunk.byteLength - at));
    }
  }

  /** The descriptors block as a rule; where the platform made them non-blocking, naps between tries. */
  #retry(action: () => number): number {
    for (;;) {
      try {
        return action();
      } catch (error) {
        const code = error instanceof Error && "code" in error ? error.code : undefined;
        if (code === "EPIPE" || code === "ECONNRESET") {
          throw new ChannelClosedError("the host closed the channel");
        }
        if (code !== "EAGAIN") throw error;
        Atomics.wait(this.#nap, 0, 0, RETRY_MS);
      }
    }
  }
}
