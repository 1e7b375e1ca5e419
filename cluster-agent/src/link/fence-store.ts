import { BerthError, type DocumentStore } from "@berth/service-kit";
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

/** The known store and its highest term; a change is durable before it counts. */
export class FenceStore {
  readonly #store: DocumentStore;
  readonly #orgId: string;
  #known: KnownFence | undefined;

  constructor(store: DocumentStore, orgId: string, known: KnownFence | undefined) {
    this.#store = store;
    this.#orgId = orgId;
    this.#known = known;
  }

  /** Undefined until a control-plane was obeyed. */
  get known(): KnownFence | undefined {
    return this.#known;
  }

  /** Keeps a fence; writes only when it has changed. */
  async keep(fence: KnownFence): Promise<void> {
    const known = this.#known;
    if (known !== undefined && isSame(known, fence)) return;
    const key = { orgId: this.#orgId, collection: "link", id: "fence" };
    const body: FenceBody = {
      storeId: fence.storeId,
      controllerTerm: String(fence.controllerTerm),
      termId: fence.termId,
    };
    const kind = known === undefined ? "insert" : "replace";
    const outcome = await this.#store.apply([{ kind, key, body }]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the link's fence was not written: ${outcome.why}`);
    }
    this.#known = fence;
  }
}

function isSame(one: KnownFence, other: KnownFence): boolean {
  return (
    one.storeId === other.storeId &&
    one.controllerTerm === other.controllerTerm &&
    one.termId === other.termId
  );
}
