import { newestOf } from "./entry-table.ts";
import type { Mirror, MirrorCopies, MirrorEntry, MirrorGuard, MirrorStatus } from "./mirror.ts";

/** A mirror that many share, with a copy on this machine for the time when it is away. */
export class TieredMirror implements Mirror {
  readonly #shared: Mirror;
  readonly #local: Mirror;

  constructor(mirrors: { readonly shared: Mirror; readonly local: Mirror }) {
    this.#shared = mirrors.shared;
    this.#local = mirrors.local;
  }

  /** The state of the shared one; `pending` counts both. */
  get status(): MirrorStatus {
    const { shared, local } = { shared: this.#shared.status, local: this.#local.status };
    const why = shared.why ?? local.why;
    const pending = shared.pending + local.pending;
    const rest = why === undefined ? {} : { why };
    return { driver: shared.driver, isConnected: shared.isConnected, pending, ...rest };
  }

  guard(guard: MirrorGuard): void {
    this.#shared.guard(guard);
    this.#local.guard(guard);
  }

  put(entry: MirrorEntry): void {
    this.#local.put(entry);
    this.#shared.put(entry);
  }

  async read(prefix: string): Promise<readonly MirrorEntry[]> {
    return newestOf((await this.#readBoth(prefix)).copies.flat());
  }

  copies(): Promise<MirrorCopies> {
    return this.#readBoth("");
  }

  async #readBoth(prefix: string): Promise<MirrorCopies> {
    const [shared, local] = await Promise.allSettled([
      this.#shared.read(prefix),
      this.#local.read(prefix),
    ]);
    if (shared.status === "rejected" && local.status === "rejected") throw shared.reason;
    const had = [shared, local].flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    return { copies: had, isWhole: had.length === 2 };
  }

  async settled(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#shared.settled(signal), this.#local.settled(signal)]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#shared.close(), this.#local.close()]);
  }
}
