import type { ResidentDocument, ResidentInput } from "@berth/policy-sandbox";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { overlaidOf } from "./overlay.ts";
import { PartFamily, type PartName } from "./part-family.ts";

type Families = Readonly<Record<PartName, PartFamily>>;

/** Remembered clusters that are gone are looked for when so many are remembered. */
const MAX_REMEMBERED = 20_000;

/**
 * Names the clusters' documents for the policy workers, which keep them between evaluations: a text gets
 * a new version exactly when it differs from the one before, so only what has changed crosses. Of a text in
 * which other GPUs are assumed only the changed states do.
 */
export class ResidentCatalog {
  readonly #documents = new WeakMap<ClusterView, ResidentDocument>();
  /** The newest texts of each cluster; the least recently changed come first. */
  readonly #newest = new Map<string, Families>();
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
    const overlaid = overlaidOf(view);
    const { data, metrics } = this.#families(overlaid?.base ?? view);
    const parts =
      overlaid === undefined
        ? { data: data.base, metrics: metrics.base }
        : {
            data: data.overlaid(overlaid.leased, view),
            metrics: metrics.overlaid(overlaid.leased, view),
          };
    const document = { id: view.id, parts };
    this.#documents.set(view, document);
    return document;
  }

  /** The families of a view as its cluster has it. */
  #families(base: ClusterView): Families {
    const key = `${base.orgId}\n${base.id}`;
    const before = this.#newest.get(key);
    const families = {
      data: this.#family("data", base, before?.data),
      metrics: this.#family("metrics", base, before?.metrics),
    };
    this.#newest.delete(key);
    this.#newest.set(key, families);
    const [oldest] = this.#newest.keys();
    if (this.#newest.size > MAX_REMEMBERED && oldest !== undefined) this.#newest.delete(oldest);
    return families;
  }

  #family(name: PartName, base: ClusterView, before: PartFamily | undefined): PartFamily {
    const json = name === "data" ? base.documentJson : (base.metricsJson ?? "null");
    if (before?.base.json === json) return before;
    return new PartFamily(name, base, () => {
      this.#version += 1;
      return this.#version;
    });
  }
}
