import type { Reason } from "@berth/service-kit";

/**
 * Where a node stands: `expected` (told of, not joined) → `ready` (its agent has joined) → `cordoned` (nothing new goes
 * there) → `draining` (what runs there is moved) → `removed` (refused until it is onboarded again). Whether a ready node
 * is heard is another matter: see `Liveness`.
 */
export type LifecycleState = "expected" | "ready" | "cordoned" | "draining" | "removed";

/** What is kept of where a node stands. JSON as stored. */
export interface LifecycleRecord {
  readonly state: LifecycleState;
  /** When it came to that state; ISO 8601, for people. */
  readonly since: string;
  /** Its entry as it was onboarded: JSON text with numbers as they were written; absent when nobody told of it. */
  readonly entryJson?: string;
  /** The operation that drains it, or has removed it. */
  readonly operationId?: string;
  /** What it was before it was drained. */
  readonly from?: LifecycleState;
  /** The operation whose drain of it was stopped, and does not begin again. */
  readonly stopped?: string;
}

/** What happens to a node. */
export type LifecycleEvent =
  /** Somebody tells of it, with its entry. */
  | { readonly kind: "onboard"; readonly entryJson: string }
  /** Its agent registers. */
  | { readonly kind: "join" }
  | { readonly kind: "cordon" }
  /** It is of use again, also when it was being drained: that stops. */
  | { readonly kind: "uncordon" }
  /** What runs there is to be moved, by an operation. */
  | { readonly kind: "drain"; readonly operationId: string }
  /** It could not be emptied. */
  | { readonly kind: "drain_failed"; readonly operationId: string }
  /** It is empty. */
  | { readonly kind: "retire"; readonly operationId: string };

/** What an event comes to. */
export type LifecycleStep =
  | { readonly kind: "moved"; readonly record: LifecycleRecord }
  /** It changes nothing. */
  | { readonly kind: "same" }
  | { readonly kind: "refused"; readonly reason: Reason; readonly message: string };

/** What an event is judged by. */
export interface LifecycleFacts {
  readonly nodeId: string;
  /** Where it stands; undefined when nobody has told of it and it has never joined. */
  readonly before: LifecycleRecord | undefined;
  /** ISO 8601. */
  readonly now: string;
}

const SAME: LifecycleStep = { kind: "same" };

/** The step of the state machine that an event makes; pure. The same event again changes nothing. */
export function lifecycleStep(facts: LifecycleFacts, event: LifecycleEvent): LifecycleStep {
  switch (event.kind) {
    case "onboard":
      return onboard(facts, event.entryJson);
    case "join":
      return join(facts);
    case "cordon":
      return cordon(facts);
    case "uncordon":
      return uncordon(facts);
    case "drain":
      return drain(facts, event.operationId);
    case "drain_failed":
      return drainFailed(facts, event.operationId);
    case "retire":
      return retire(facts, event.operationId);
  }
}

/** Why nothing new may go to a node that stands so; undefined when it may. */
export function lifecycleRefusal(state: LifecycleState): string | undefined {
  if (state === "ready") return undefined;
  return state === "expected" ? "it has not joined yet" : state;
}

function onboard({ before, now }: LifecycleFacts, entryJson: string): LifecycleStep {
  if (before === undefined || before.state === "removed") {
    return moved({ state: "expected", since: now, entryJson });
  }
  // It has joined, or is expected: what is told of it is newer.
  return before.entryJson === entryJson ? SAME : moved({ ...before, entryJson });
}

function join({ nodeId, before, now }: LifecycleFacts): LifecycleStep {
  if (before === undefined) return moved({ state: "ready", since: now });
  if (before.state === "expected") return moved({ ...before, state: "ready", since: now });
  if (before.state !== "removed") return SAME;
  const message = `node_id: node ${quoted(nodeId)} was removed; it is let in again after POST /cluster-actions/add-node`;
  return refused("PRECONDITION_FAILED", message);
}

function cordon({ nodeId, before, now }: LifecycleFacts): LifecycleStep {
  const state = before?.state;
  if (before !== undefined && state === "ready") {
    return moved({ ...before, state: "cordoned", since: now });
  }
  if (state === "cordoned" || state === "draining") return SAME;
  if (state !== "expected") return unknown(nodeId);
  return refused("PRECONDITION_FAILED", `node ${quoted(nodeId)} has not joined yet`);
}

function uncordon({ nodeId, before, now }: LifecycleFacts): LifecycleStep {
  const state = before?.state;
  if (before !== undefined && state === "cordoned") {
    return moved({ ...before, state: "ready", since: now });
  }
  if (state === "ready") return SAME;
  if (before !== undefined && state === "draining") return stopDrain(before, now);
  if (state !== "expected") return unknown(nodeId);
  return refused("PRECONDITION_FAILED", `node ${quoted(nodeId)} has not joined yet`);
}

function stopDrain(before: LifecycleRecord, now: string): LifecycleStep {
  const { operationId = "", from, stopped: _former, ...rest } = before;
  const stopped = operationId === "" ? {} : { stopped: operationId };
  return moved({ ...rest, ...stopped, state: from === "expected" ? from : "ready", since: now });
}

function drain({ nodeId, before, now }: LifecycleFacts, operationId: string): LifecycleStep {
  if (before === undefined) return unknown(nodeId);
  const { state, operationId: by, stopped } = before;
  // It was cut off before it saw that.
  if (stopped === operationId) {
    const message = `node ${quoted(nodeId)} was uncordoned, so this removal of it does not go on`;
    return refused("CONFLICT", message);
  }
  if (state === "removed") return by === operationId ? SAME : unknown(nodeId);
  if (state !== "draining") {
    return moved({ ...before, state: "draining", since: now, operationId, from: state });
  }
  // Operations on one node are done one after the other: the one before was given up.
  return by === operationId ? SAME : moved({ ...before, operationId });
}

function drainFailed({ before, now }: LifecycleFacts, operationId: string): LifecycleStep {
  if (before?.state !== "draining" || before.operationId !== operationId) return SAME;
  const { operationId: _over, from, ...rest } = before;
  // It stays out of use: who wanted it empty has not changed his mind.
  return moved({ ...rest, state: from === "expected" ? from : "cordoned", since: now });
}

function retire({ nodeId, before, now }: LifecycleFacts, operationId: string): LifecycleStep {
  if (before === undefined) return unknown(nodeId);
  if (before.state === "removed") return SAME;
  if (before.state === "draining" && before.operationId === operationId) {
    return moved({ state: "removed", since: now, operationId });
  }
  return refused("CONFLICT", `node ${quoted(nodeId)} is ${before.state}, and is not being drained`);
}

function moved(record: LifecycleRecord): LifecycleStep {
  return { kind: "moved", record };
}

function refused(reason: Reason, message: string): LifecycleStep {
  return { kind: "refused", reason, message };
}

/** In the words of the existing deployment, which its clients look for. */
function unknown(nodeId: string): LifecycleStep {
  return refused("NOT_FOUND", `Node ${nodeId} not found in cluster`);
}

function quoted(nodeId: string): string {
  return JSON.stringify(nodeId);
}
