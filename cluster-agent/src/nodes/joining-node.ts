import type { CheckedRegistration } from "./check-fingerprint.ts";
import { NONE_TAKEN } from "./gpu-verdict.ts";
import { registeredRecord } from "./node-record.ts";
import { type NodeView, viewOf } from "./node-view.ts";

const NO_INTERVALS = { gpuMs: 1, hostMs: 1, ttlMs: 1 };

/** The view of a node that asks to join, as it would be; `now` is ISO 8601. Throws INVALID_ARGUMENT as a registration does. */
export function joiningNode(asked: CheckedRegistration, now: string): NodeView {
  const viewed = {
    id: asked.nodeId,
    liveness: "live" as const,
    isDuplicate: false,
    lifecycle: "ready" as const,
    record: registeredRecord(asked, undefined, now),
    telemetry: { gpus: new Map(), details: new Map(), samplesTellReasons: false },
    heldOver: new Map(),
    taken: NONE_TAKEN,
    version: 0,
  };
  return viewOf(viewed, { nowMs: 0, startedAtMs: 0, intervals: NO_INTERVALS });
}
