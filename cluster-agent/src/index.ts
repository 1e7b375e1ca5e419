export { type BlockSharing, openBlockSharing } from "./compose/block-sharing.ts";
export { type ClusterAgent, type ClusterAgentOptions, composeClusterAgent } from "./compose.ts";
export { ControlPlaneLink } from "./link/control-plane-link.ts";
export { type LinkMemory, openLinkMemory } from "./link/link-memory.ts";
export { revisionBase } from "./link/revision.ts";
export { StateBoard } from "./link/state-board.ts";
export type { TelemetryEntry } from "./link/telemetry-entries.ts";
export { settings } from "./settings.ts";
export { aggregateMetrics } from "./telemetry/aggregate-metrics.ts";
