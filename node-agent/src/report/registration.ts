import type { NodeRegisterResponse } from "@berth/proto";

/** A registration in force, with intervals the agent can live with. */
export interface Registration {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly registrationId: string;
  readonly gpuIntervalMs: number;
  readonly hostIntervalMs: number;
}

const GPU_INTERVAL_MS = { fallback: 1_000, min: 100, max: 600_000 };
const HOST_INTERVAL_MS = { fallback: 5_000, min: 250, max: 600_000 };

/**
 * Reads what the server answered; undefined when it gave no registration. Intervals of 0 get the
 * defaults (1 s, 5 s), others are kept within 100 ms (host: 250 ms) and 10 min. The host interval is
 * at most a third of the server's TTL, so that a healthy node is never silent for that long.
 */
export function readRegistration(response: NodeRegisterResponse): Registration | undefined {
  if (response.registrationId === "") return undefined;
  const host = clamp(response.hostIntervalMs, HOST_INTERVAL_MS);
  const heartbeatMs = response.ttlMs === 0 ? host : Math.floor(response.ttlMs / 3);
  return {
    nodeId: response.nodeId,
    clusterId: response.clusterId,
    registrationId: response.registrationId,
    gpuIntervalMs: clamp(response.gpuIntervalMs, GPU_INTERVAL_MS),
    hostIntervalMs: Math.max(HOST_INTERVAL_MS.min, Math.min(host, heartbeatMs)),
  };
}

function clamp(value: number, bounds: typeof GPU_INTERVAL_MS): number {
  if (value === 0) return bounds.fallback;
  return Math.min(bounds.max, Math.max(bounds.min, value));
}
