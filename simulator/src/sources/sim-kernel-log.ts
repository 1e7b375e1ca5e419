import type { KernelLog, KernelMessage } from "@berth/node-agent";
import { Quality } from "@berth/proto";
import type { Clock } from "@berth/service-kit";

/** The kernel log of one boot of a simulated node: empty but for what faults write into it. */
export class SimKernelLog implements KernelLog {
  readonly name = "simulated kernel log";
  readonly ready: Promise<void> = Promise.resolve();
  readonly #clock: Clock;
  readonly #listeners = new Set<(messages: readonly KernelMessage[]) => void>();
  #seq = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#listeners.clear();
  }

  quality(): Quality {
    return Quality.SIMULATED;
  }

  subscribe(listener: (messages: readonly KernelMessage[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Writes what the driver logs for an XID of the GPU at a PCI bus address ("00000000:1B:00.0"). */
  xid(pciBusId: string, code: number): void {
    const place = `PCI:${pciBusId.slice(4, -2).toLowerCase()}`;
    const why = code === FALLEN_OFF_BUS ? ", GPU has fallen off the bus." : "";
    this.#seq += 1;
    const text = `NVRM: Xid (${place}): ${code}, pid='<unknown>', name=<unknown>${why}`;
    const message = { seq: this.#seq, atMs: this.#clock.nowMs(), text };
    for (const listener of [...this.#listeners]) listener([message]);
  }
}

/** XID of a GPU that does not answer on its bus any more. */
export const FALLEN_OFF_BUS = 79;
