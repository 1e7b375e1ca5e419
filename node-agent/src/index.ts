export {
  composeNodeAgent,
  type DialCredentials,
  type KeptState,
  type NodeAgentReplacements,
} from "./compose.ts";
export { STALE_INTERVALS } from "./gpu/gpu-readings.ts";
export type { GpuActivity, GpuEvent, GpuInventory, GpuSource } from "./gpu/gpu-source.ts";
export { GPU_TIMINGS, type GpuTimings } from "./gpu/gpu-timings.ts";
export { type RecordedGpus, recordedGpus, type SmiRecording } from "./gpu/recorded-gpus.ts";
export type { KernelLog, KernelMessage } from "./health/kernel-log.ts";
export type { HostEvent, HostFacts, HostSource } from "./host/host-source.ts";
export type { Identity } from "./host/node-identity.ts";
export type { CallOptions, NodeServiceClient, ReportCall } from "./report/node-service-client.ts";
export { NODE_AGENT_SETTINGS, type NodeAgentConfig } from "./settings.ts";
