import type { HealthReport } from "@berth/proto";
import type { Part } from "@berth/service-kit/base";

/** Where a node-agent has the health of its node from. */
export interface HealthSource extends Part {
  /** Resolves when what was there at the start is known, or the source was stopped. */
  readonly ready: Promise<void>;
  /** All that is known, with ages of now. */
  report(): HealthReport;
  /** Calls `listener` when the report has changed by more than its ages. */
  subscribe(listener: () => void): () => void;
}
