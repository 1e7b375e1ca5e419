import { createServer } from "node:net";
import { BerthError } from "@berth/service-kit";
import { errorCode } from "./error-code.ts";
import type { InstancePorts } from "./instance-record.ts";

/** Ports that instances get, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * 20,000-29,999: below the range that Linux takes ports of outgoing connections from (32,768 on), so that none sits on
 * an instance's port while its program is started again, and below Berth's own.
 */
export const INSTANCE_PORTS: PortRange = { first: 20_000, last: 29_999 };

/** Gives out ports of 127.0.0.1 that nobody listens on, and that no other instance of this runtime has. */
export class PortBook {
  readonly #range: PortRange;
  readonly #random: () => number;
  readonly #taken = new Set<number>();

  constructor(range: PortRange = INSTANCE_PORTS, random: () => number = Math.random) {
    this.#range = range;
    this.#random = random;
  }

  /** Notes ports that an instance has. */
  take(ports: InstancePorts): void {
    this.#taken.add(ports.control).add(ports.metrics);
  }

  /** Gives ports back. */
  release(ports: InstancePorts): void {
    this.#taken.delete(ports.control);
    this.#taken.delete(ports.metrics);
  }

  /** Two ports, taken. Rejects with UNAVAILABLE when the range has none left. */
  async choose(): Promise<InstancePorts> {
    const control = await this.#one();
    try {
      return { control, metrics: await this.#one() };
    } catch (thrown) {
      this.#taken.delete(control);
      throw thrown;
    }
  }

  /** Whether a program could listen on both. */
  async areFree(ports: InstancePorts): Promise<boolean> {
    return (await isFree(ports.control)) && (await isFree(ports.metrics));
  }

  /** From a place of its own in the range: runtimes beside each other rarely try the same. */
  async #one(): Promise<number> {
    const { first, last } = this.#range;
    const count = last - first + 1;
    const start = Math.floor(this.#random() * count);
    for (let step = 0; step < count; step += 1) {
      const port = first + ((start + step) % count);
      if (this.#taken.has(port)) continue;
      this.#taken.add(port);
      if (await isFree(port)) return port;
      this.#taken.delete(port);
    }
    throw new BerthError("UNAVAILABLE", `no port from ${first} to ${last} is free on 127.0.0.1`);
  }
}

const UNUSABLE = new Set(["EADDRINUSE", "EACCES"]);

/** Whether one can listen on a port of 127.0.0.1 now. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if (UNUSABLE.has(errorCode(error) ?? "")) resolve(false);
      else reject(error);
    });
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}
