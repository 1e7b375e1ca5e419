import type { Clock, DuplicateRules, KeyedDocuments, Logger, Standing } from "@berth/service-kit";
import type { OnNodeEvent } from "./node-events.ts";
import type { LifecycleRecord } from "./node-lifecycle.ts";
import type { NodeRecord } from "./node-view.ts";

/** What a registry of nodes needs. */
export interface NodeRegistryOptions {
  readonly records: KeyedDocuments<NodeRecord>;
  readonly standings: KeyedDocuments<Standing>;
  readonly lifecycles: KeyedDocuments<LifecycleRecord>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Sampling intervals and the TTL of silence, in ms. */
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number; readonly ttlMs: number };
  readonly duplicateRules: DuplicateRules;
  readonly onEvent: OnNodeEvent;
}
