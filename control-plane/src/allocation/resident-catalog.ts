import type { ResidentDocument, ResidentInput, ResidentPart } from "@berth/policy-sandbox";
import type { ClusterView } from "../fleet/cluster-view.ts";

type Parts = Readonly<Record<"data" | "metrics", ResidentPart>>;

/** Remembered clusters that are gone are looked for when so many are remembered. */
const MAX_REMEMBERED = 20_000;

/**
 * Names the clusters' documents for the policy workers, which keep them between evaluations: a text gets
 * a new version exactly when it differs from the one before, so only what has changed crosses.
 */
export class ResidentCatalog {
  readonly #documents = new WeakMap<ClusterView, ResidentDocument>();
  /** The newest parts of each cluster; the least recently changed come first. */
  readonly #newest = new Map<string, Parts>();
  #version = 0;

  /** `input_data` of an allocator policy: each candidate by id, its metrics under both names. */
  members(views: readonly ClusterView[]): ResidentInput {
    const fields = { data: "data", cluster_metrics: "metrics", metrics: "metrics" };
    return {
      shape: { kind: "members", key: "cluster_data", fields },
      documents: views.map((view) => this.#document(view)),
    };
  }

  /** `input_data` of a ranking policy: the list of cluster documents. */
  list(views: readonly ClusterView[]): ResidentInput {
    return {
      shape: { kind: "list", part: "data" },
      documents: views.map((view) => this.#document(view)),
    };
  }

  #document(view: ClusterView): ResidentDocument {
    const known = this.#documents.get(view);
    if (known !== undefined) return known;
    const key = `${view.orgId}\n${view.id}`;
    const before = this.#newest.get(key);
    const parts: Parts = {
      data: this.#part(view.documentJson, before?.data),
      metrics: this.#part(view.metricsJson ?? "null", before?.metrics),
    };
    this.#remember(key, parts);
    const document = { id: view.id, parts };
    this.#documents.set(view, document);
    return document;
  }

  #part(json: string, before: ResidentPart | undefined): ResidentPart {
    if (before?.json === json) return before;
    this.#version += 1;
    return { version: this.#version, json };
  }

  #remember(key: string, parts: Parts): void {
    this.#newest.delete(key);
    this.#newest.set(key, parts);
    if (this.#newest.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#newest.keys();
    if (oldest !== undefined) this.#newest.delete(oldest);
  }
}
