import type { DocumentStore } from "@berth/service-kit";
import { storedPolicies } from "./stored-policies.ts";

/** Digests of the published versions by URI. */
export type Digests = ReadonlyMap<string, string>;

/**
 * Which versions are published, kept in memory: this process is the only one that writes them. Read from the
 * store once for each org, when they are first asked for.
 */
export class PolicyIndex {
  readonly #store: Pick<DocumentStore, "list">;
  readonly #orgs = new Map<string, Promise<Map<string, string>>>();

  constructor(store: Pick<DocumentStore, "list">) {
    this.#store = store;
  }

  /** The versions of an org; rejects when the store cannot give them, and asks it again the next time. */
  of(orgId: string): Promise<Digests> {
    const known = this.#orgs.get(orgId);
    if (known !== undefined) return known;
    const loading = this.#load(orgId);
    this.#orgs.set(orgId, loading);
    loading.catch(() => this.#orgs.delete(orgId));
    return loading;
  }

  /** Notes a version that was written, or one that was removed when there is no digest. */
  note(orgId: string, uri: string, digest: string | undefined): void {
    const change = (digests: Map<string, string>) => {
      if (digest === undefined) digests.delete(uri);
      else digests.set(uri, digest);
    };
    // What could not be loaded is loaded anew, with the change.
    this.#orgs.get(orgId)?.then(change, () => undefined);
  }

  async #load(orgId: string): Promise<Map<string, string>> {
    const digests = new Map<string, string>();
    for await (const { record } of storedPolicies(this.#store, orgId)) {
      digests.set(record.policy_rule_uri, record.digest);
    }
    return digests;
  }
}
