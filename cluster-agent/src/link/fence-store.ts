import { BerthError, type DocumentStore, Serial } from "@berth/service-kit";
import type { KnownFence } from "./fence.ts";

interface FenceBody {
  readonly storeId: string;
  /** Decimal, as terms are 64 bits wide. */
  readonly controllerTerm: string;
  /** Absent in records of older versions. */
  readonly termId?: string;
}

/** Opens the durable memory of whom the agent obeys. */
export async function openFenceStore(store: DocumentStore, orgId: string): Promise<FenceStore> {
  const found = await store.get<FenceBody>({ orgId, collection: "link", id: "fence" });
  const known = found && {
    storeId: found.body.storeId,
    controllerTerm: BigInt(found.body.controllerTerm),
    termId: found.body.termId ?? "",
  };
  return new FenceStore(store, orgId, known);
}

/** The known store, its highest term, and the newest name of that. */
export class FenceStore {
  readonly #store: DocumentStore;
  readonly #orgId: string;
  readonly #writes = new Serial();
  #known: KnownFence | undefined;
  #stored: KnownFence | undefined;
  /** The write of a name that has not begun yet. */
  #renewal: Promise<void> | undefined;

  constructor(store: DocumentStore, orgId: string, known: KnownFence | undefined) {
    this.#store = store;
    this.#orgId = orgId;
    this.#known = known;
    this.#stored = known;
  }

  /** Undefined until a control-plane was obeyed. */
  get known(): KnownFence | undefined {
    return this.#known;
  }

  /** Keeps a fence, which is durable before it counts. */
  keep(fence: KnownFence): Promise<void> {
    return this.#writes.run(async () => {
      await this.#write(fence);
      this.#known = fence;
    });
  }

  /**
   * Keeps the known fence with a newer term id. It counts at once and is durable when this resolves, by itself or
   * with a newer one: one write is under way at most, and one waits. Rejects when the store does not take it; the
   * next call writes it then.
   */
  renew(fence: KnownFence): Promise<void> {
    this.#known = fence;
    this.#renewal ??= this.#writes.run(async () => {
      this.#renewal = undefined;
      await this.#write(this.#known ?? fence);
    });
    return this.#renewal;
  }

  /** Writes only what has changed. */
  async #write(fence: KnownFence): Promise<void> {
    if (this.#stored !== undefined && isSame(this.#stored, fence)) return;
    const key = { orgId: this.#orgId, collection: "link", id: "fence" };
    const body: FenceBody = {
      storeId: fence.storeId,
      controllerTerm: String(fence.controllerTerm),
      termId: fence.termId,
    };
    const kind = this.#stored === undefined ? "insert" : "replace";
    const outcome = await this.#store.apply([{ kind, key, body }]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the link's fence was not written: ${outcome.why}`);
    }
    this.#stored = fence;
  }
}

function isSame(one: KnownFence, other: KnownFence): boolean {
  return (
    one.storeId === other.storeId &&
    one.controllerTerm === other.controllerTerm &&
    one.termId === other.termId
  );
}
