import { BerthError, type Clock, type KeyedDocuments, Serial } from "@berth/service-kit";
import {
  type LifecycleEvent,
  type LifecycleRecord,
  type LifecycleState,
  lifecycleStep,
} from "./node-lifecycle.ts";
import { MAX_NODES } from "./node-registration.ts";
import type { NodeRecord } from "./node-view.ts";

/** Removed nodes that are remembered, so that they stay refused; the oldest are forgotten first. */
const MAX_REMOVED = 10_000;

/** A node has come from one state to another; `from` is undefined for a new one. */
export interface LifecycleChange {
  readonly nodeId: string;
  readonly from: LifecycleState | undefined;
  readonly to: LifecycleState;
}

/** What {@link openNodeRoster} needs. */
export interface NodeRosterDeps {
  readonly documents: KeyedDocuments<LifecycleRecord>;
  readonly clock: Clock;
  /** Nodes that have joined before. */
  readonly joined: ReadonlyMap<string, Pick<NodeRecord, "firstSeenAt">>;
}

/** Opens the roster with what the store says. A node that has joined and of which it says nothing is ready. */
export async function openNodeRoster(deps: NodeRosterDeps): Promise<NodeRoster> {
  const stored = await deps.documents.load();
  return new NodeRoster(deps, stored);
}

/** Where each node of the cluster stands: those that are expected, those that have joined, those that were removed. */
export class NodeRoster {
  readonly #deps: NodeRosterDeps;
  /** In the order in which they came to their state, as far as this start knows. */
  readonly #records = new Map<string, LifecycleRecord>();
  readonly #serial = new Serial();
  #onChange: (change: LifecycleChange) => void = () => {};

  constructor(deps: NodeRosterDeps, stored: ReadonlyMap<string, LifecycleRecord>) {
    this.#deps = deps;
    const inTime = [...stored].sort(([, a], [, b]) => (a.since < b.since ? -1 : 1));
    for (const [id, record] of inTime) this.#records.set(id, record);
    for (const [id, { firstSeenAt }] of deps.joined) {
      const record = this.#records.get(id);
      if (record === undefined) this.#records.set(id, { state: "ready", since: firstSeenAt });
      // It was cut off between its registration and this.
      else if (record.state === "expected") this.#records.set(id, { ...record, state: "ready" });
    }
  }

  /** Hears each change, after it is durable; one listener. */
  listen(onChange: (change: LifecycleChange) => void): void {
    this.#onChange = onChange;
  }

  /** Where a node stands; undefined for one that nobody knows. */
  get(id: string): LifecycleRecord | undefined {
    return this.#records.get(id);
  }

  /** All nodes by id, removed ones too. */
  all(): ReadonlyMap<string, LifecycleRecord> {
    return this.#records;
  }

  /** Lets an event happen, durable when it resolves. Rejects with why the node's state does not allow it. */
  step(id: string, event: LifecycleEvent): Promise<LifecycleRecord> {
    return this.#serial.run(async () => {
      const before = this.#records.get(id);
      const now = this.#deps.clock.timestamp();
      const step = lifecycleStep({ nodeId: id, before, now }, event);
      if (step.kind === "refused") throw new BerthError(step.reason, step.message);
      if (step.kind === "same") return before as LifecycleRecord;
      const isNew = before === undefined || before.state === "removed";
      if (event.kind === "onboard" && isNew) this.#refuseMore();
      await this.#deps.documents.save(id, step.record);
      this.#records.delete(id);
      this.#records.set(id, step.record);
      if (step.record.state === "removed") await this.#forgetOldest();
      this.#onChange({ nodeId: id, from: before?.state, to: step.record.state });
      return step.record;
    });
  }

  /** Forgets a node, also that it was removed; nothing happens when nobody knows it. */
  forget(id: string): Promise<void> {
    return this.#serial.run(async () => {
      await this.#deps.documents.remove(id);
      this.#records.delete(id);
    });
  }

  #refuseMore(): void {
    const present = [...this.#records.values()].filter(({ state }) => state !== "removed");
    if (present.length < MAX_NODES) return;
    throw new BerthError("OVERLOADED", `the cluster has ${MAX_NODES} nodes, no more are taken`);
  }

  async #forgetOldest(): Promise<void> {
    const removed = [...this.#records].filter(([, { state }]) => state === "removed");
    for (const [id] of removed.slice(0, Math.max(0, removed.length - MAX_REMOVED))) {
      await this.#deps.documents.remove(id);
      this.#records.delete(id);
    }
  }
}
