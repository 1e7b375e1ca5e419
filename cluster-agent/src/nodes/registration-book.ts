import { randomUUID } from "node:crypto";
import { BerthError, type Reason } from "@berth/service-kit";
import type { Registration } from "./node-registration.ts";

interface Entry {
  readonly handle: Registration;
  readonly end: AbortController;
  /** Report streams that are open. */
  streams: number;
}

/** The registrations in force: one per node, found by its id or by its node. */
export class RegistrationBook {
  readonly #byId = new Map<string, Registration>();
  readonly #ofNode = new Map<string, Entry>();

  /** The registration with an id, undefined when it has ended or never was. */
  find(id: string): Registration | undefined {
    return this.#byId.get(id);
  }

  /** Whether it is the newest one of its node, and has not ended. */
  holds({ id }: Registration): boolean {
    return this.#byId.has(id);
  }

  /** Begins a registration and ends the node's one before it. */
  begin(nodeId: string): Registration {
    this.end(nodeId, "the node has registered again");
    const end = new AbortController();
    const handle = { nodeId, id: randomUUID(), ended: end.signal };
    this.#ofNode.set(nodeId, { handle, end, streams: 0 });
    this.#byId.set(handle.id, handle);
    return handle;
  }

  /** Counts a report stream of a registration as open until the function is called. */
  openStream({ nodeId, id }: Registration): () => void {
    const entry = this.#ofNode.get(nodeId);
    if (entry?.handle.id !== id) return () => undefined;
    entry.streams += 1;
    let isOpen = true;
    return () => {
      if (isOpen) entry.streams -= 1;
      isOpen = false;
    };
  }

  /** Whether the registration of a node has an open report stream: its agent answers pings. */
  isPresent(nodeId: string): boolean {
    return (this.#ofNode.get(nodeId)?.streams ?? 0) > 0;
  }

  /** Ends the registration of a node, if there is one: its signal's reason is a {@link BerthError} that says why. */
  end(nodeId: string, why: string, reason: Reason = "CONFLICT"): void {
    const entry = this.#ofNode.get(nodeId);
    if (entry === undefined) return;
    this.#ofNode.delete(nodeId);
    this.#byId.delete(entry.handle.id);
    entry.end.abort(new BerthError(reason, `registration_id: ${why}`));
  }
}
