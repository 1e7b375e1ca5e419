import { BerthError, type DocumentStore } from "@berth/service-kit";

/** Starts that are remembered: the oldest one, which is the one that was answered last, and the newest ones. */
export const MAX_FORMER_STARTS = 256;

interface StartsBody {
  /** `agent_instance_id`s, oldest first. */
  readonly instanceIds: readonly string[];
}

/** Opens the durable memory of the agent's starts. */
export async function openStartHistory(store: DocumentStore, orgId: string): Promise<StartHistory> {
  const found = await store.get<StartsBody>({ orgId, collection: "link", id: "starts" });
  return new StartHistory({ store, orgId, kept: found?.body.instanceIds });
}

/**
 * The starts of the agent since, and with, the last one that a control-plane answered: a start whose history
 * lacks the one that was answered last runs on an older copy of the agent's state.
 */
export class StartHistory {
  /** `agent_instance_id`s of the starts before this one, oldest first, at most {@link MAX_FORMER_STARTS}. */
  readonly former: readonly string[];
  readonly #store: DocumentStore;
  readonly #orgId: string;
  #isStored: boolean;
  #kept: readonly string[];

  constructor(opened: {
    readonly store: DocumentStore;
    readonly orgId: string;
    /** What the store has; undefined when it has nothing. */
    readonly kept: readonly string[] | undefined;
  }) {
    const { store, orgId, kept } = opened;
    this.#store = store;
    this.#orgId = orgId;
    this.#isStored = kept !== undefined;
    this.#kept = kept ?? [];
    this.former = bounded(this.#kept);
  }

  /**
   * This start is about to ask a control-plane for the first time: remembered when it resolves. A start that is
   * known changes nothing.
   */
  async begin(instanceId: string): Promise<void> {
    if (this.#kept.includes(instanceId)) return;
    await this.#keep(bounded([...this.#kept, instanceId]));
  }

  /** A control-plane that is obeyed has answered this start: those before it do not count any more. */
  async answered(instanceId: string): Promise<void> {
    if (this.#kept.length === 1 && this.#kept[0] === instanceId) return;
    await this.#keep([instanceId]);
  }

  async #keep(instanceIds: readonly string[]): Promise<void> {
    const key = { orgId: this.#orgId, collection: "link", id: "starts" };
    const body: StartsBody = { instanceIds };
    const outcome = await this.#store.apply([
      { kind: this.#isStored ? "replace" : "insert", key, body },
    ]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the agent's starts were not written: ${outcome.why}`);
    }
    this.#isStored = true;
    this.#kept = instanceIds;
  }
}

/** The first one stays: control-planes compare with the start that they answered last. */
function bounded(ids: readonly string[]): readonly string[] {
  if (ids.length <= MAX_FORMER_STARTS) return ids;
  return [...ids.slice(0, 1), ...ids.slice(1 - MAX_FORMER_STARTS)];
}
