import type { LiveSession } from "./agent-session.ts";

/** The sessions in force: at most one of a cluster, found by its id or by its cluster. */
export class SessionBook {
  readonly #byId = new Map<string, LiveSession>();
  readonly #ofCluster = new Map<string, LiveSession>();

  /** Number of sessions in force. */
  get size(): number {
    return this.#byId.size;
  }

  /** The session with an id, undefined when it has ended or never was. */
  find(id: string): LiveSession | undefined {
    return this.#byId.get(id);
  }

  /** The session of a cluster. */
  ofCluster(orgId: string, clusterId: string): LiveSession | undefined {
    return this.#ofCluster.get(clusterKey(orgId, clusterId));
  }

  /** All sessions, as they are now. */
  all(): readonly LiveSession[] {
    return [...this.#byId.values()];
  }

  /** Puts a session in force; the cluster's former one was removed before. */
  add(session: LiveSession): void {
    const { orgId, id } = session.cluster;
    this.#byId.set(session.id, session);
    this.#ofCluster.set(clusterKey(orgId, id), session);
  }

  /** Removes a session; gives whether it was in force. */
  remove(session: LiveSession): boolean {
    const { orgId, id } = session.cluster;
    const key = clusterKey(orgId, id);
    if (this.#ofCluster.get(key) === session) this.#ofCluster.delete(key);
    return this.#byId.delete(session.id);
  }
}

/** One key for a cluster of an org. */
export function clusterKey(orgId: string, clusterId: string): string {
  return JSON.stringify([orgId, clusterId]);
}
