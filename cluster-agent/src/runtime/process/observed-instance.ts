import { type InstancePhase, type ObservedInstance, sharesOf } from "../runtime.ts";
import type { Health } from "./health-verdict.ts";
import type { InstanceRecord } from "./instance-record.ts";

/** What the supervision of an instance knows of it now. */
export interface InstanceFacts {
  readonly record: InstanceRecord;
  readonly phase: InstancePhase;
  readonly restarts: number;
  /** Process that was started as the instance; undefined while there is none. */
  readonly pid: number | undefined;
  readonly health: Health;
  /** How the program ended last, or why it cannot be started. */
  readonly trouble: string | undefined;
}

/** An instance as the runtime tells of it. */
export function observedInstance(facts: InstanceFacts): ObservedInstance {
  const { record, phase, restarts, pid, health } = facts;
  const { spec } = record;
  const isReady = phase === "running" && health.isReady;
  return {
    blockId: spec.blockId,
    instanceId: spec.instanceId,
    nodeId: spec.nodeId,
    allocationId: spec.allocationId,
    deviceUuids: spec.devices.map(({ uuid }) => uuid),
    sharesMiB: sharesOf(spec.devices),
    cpuMillis: spec.cpuMillis,
    memoryMiB: spec.memoryMiB,
    storageMiB: spec.storageMiB,
    ownership: spec.ownership,
    specDigest: record.specDigest,
    phase,
    isReady,
    restarts,
    ...(isReady ? {} : { message: messageOf(facts) }),
    ...(pid === undefined ? {} : { podName: `pid ${pid}` }),
    // A port of a program that does not run may be anybody's.
    endpoints: phase === "running" ? endpointsOf(record) : {},
  };
}

function messageOf({ phase, health, trouble }: InstanceFacts): string {
  switch (phase) {
    case "pending":
      return trouble ?? "it is not started yet";
    case "restarting":
      return `the program ${trouble ?? "ended while nobody watched"}; it is started again after a delay`;
    case "terminating":
      return trouble === undefined ? "it is being removed" : `it is being removed: ${trouble}`;
    case "running":
      return health.isReady ? "" : health.message;
  }
}

function endpointsOf({ ports }: InstanceRecord): ObservedInstance["endpoints"] {
  return {
    control: `http://127.0.0.1:${ports.control}`,
    metrics: `http://127.0.0.1:${ports.metrics}`,
  };
}
