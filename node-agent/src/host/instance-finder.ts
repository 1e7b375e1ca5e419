import { open } from "node:fs/promises";
import { instanceOfCgroup, instanceOfEnvironment } from "./instance-id.ts";
import { within } from "./within.ts";

/** Reads the first bytes of a file as text; rejects when it cannot. */
export type ReadHead = (file: string) => Promise<string>;

const READ_LIMIT_MS = 500;
const MAX_BYTES = 262_144;
const MAX_WAITING = 512;

/**
 * Finds which instance of Berth a process belongs to. The kernel makes who reads the environment of a
 * process that hangs in the driver wait for it; so processes are read one after the other, and while a
 * read has not come back nothing is known of any.
 */
export class InstanceFinder {
  readonly #readHead: ReadHead;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isOpen = false;

  constructor(readHead: ReadHead = readHead256KiB) {
    this.#readHead = readHead;
  }

  /**
   * Id of the instance that process `pid` belongs to: what its environment says (BERTH_INSTANCE_ID), else
   * its control group. "" when it belongs to none, is gone, may not be read, or more than 512 wait. Never
   * rejects; one that is read takes at most 1 s.
   */
  instanceOf(pid: number): Promise<string> {
    if (!Number.isSafeInteger(pid) || pid < 1 || this.#waiting >= MAX_WAITING) {
      return Promise.resolve("");
    }
    this.#waiting += 1;
    const found = this.#queue.then(() => this.#find(pid)).finally(() => (this.#waiting -= 1));
    this.#queue = found;
    return found;
  }

  async #find(pid: number): Promise<string> {
    const named = instanceOfEnvironment(await this.#read(`/proc/${pid}/environ`));
    return named === "" ? instanceOfCgroup(await this.#read(`/proc/${pid}/cgroup`)) : named;
  }

  async #read(file: string): Promise<string> {
    if (this.#isOpen) return "";
    this.#isOpen = true;
    const reading = this.#readHead(file).finally(() => {
      this.#isOpen = false;
    });
    return (await within(reading, READ_LIMIT_MS)) ?? "";
  }
}

async function readHead256KiB(file: string): Promise<string> {
  const handle = await open(file, "r");
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    while (size < MAX_BYTES) {
      // The kernel gives a page at a time.
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(16_384), 0, 16_384, null);
      if (bytesRead === 0) break;
      chunks.push(buffer.subarray(0, bytesRead));
      size += bytesRead;
    }
    return Buffer.concat(chunks).toString("latin1");
  } finally {
    await handle.close();
  }
}
