import type { Clock, Logger, Part } from "@berth/service-kit";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { periodic } from "../periodic.ts";

/** What the sweep looks at, and tells. */
export interface ClusterSweepOptions {
  readonly nodes: NodeRegistry;
  /** Tells the control-plane what has changed. */
  readonly tell: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Changes of the cluster document are gathered for so long before they are sent. */
const SWEEP_INTERVAL_MS = 250;
/** Sweeps that are further apart than this, ms: the process was kept from its work. */
const STALL_MS = 4 * SWEEP_INTERVAL_MS;

/** Looks for nodes that fell silent, and tells what may have changed. */
export function clusterSweep({ nodes, tell, clock, logger }: ClusterSweepOptions): Part {
  let sweptAtMs = clock.nowMs();
  const task = () => {
    const passedMs = clock.nowMs() - sweptAtMs;
    sweptAtMs += passedMs;
    nodes.sweep(passedMs > STALL_MS ? passedMs : 0);
    tell();
  };
  return periodic("sweep", { intervalMs: SWEEP_INTERVAL_MS, logger, task });
}
