import type { HealthClassName, HealthFactEntry } from "@berth/proto";
import type { ReadingQuality } from "./inventory.ts";

/** One thing that is or went wrong with a GPU or its node, checked. */
export interface HealthFact {
  /** The same for the same fact, over restarts of the node-agent. */
  readonly factId: string;
  /** GPU that it is about; empty when it is about the node, or not known which GPU it is about. */
  readonly gpuUuid: string;
  /** "xid", "row_remap_failed", "driver_hung", ... */
  readonly kind: string;
  readonly class: HealthClassName;
  /** Number of the XID or SXid; absent otherwise. */
  readonly code?: number;
  readonly evidence: string;
  /** Whether it still holds; what only happened never does. */
  readonly holds: boolean;
  /** ms. */
  readonly ageMs: number;
}

/** All that a node-agent knows of the health of its node. */
export interface HealthReading {
  /** The gravest first. */
  readonly facts: readonly HealthFact[];
  /** Whether the kernel log can be read; `unavailable` when no XID is known. */
  readonly kernelLog: ReadingQuality;
}

/** Most facts of one GPU that a document or an event carries. */
export const MAX_SHOWN_FACTS = 8;

const GRAVITY: Readonly<Record<HealthClassName, number>> = {
  info: 1,
  application: 2,
  reset: 3,
  hardware: 4,
};

/** Order of facts: the gravest first, of equal gravity what holds, of those the newest. */
export function byGravity(a: HealthFact, b: HealthFact): number {
  return (
    GRAVITY[b.class] - GRAVITY[a.class] || Number(b.holds) - Number(a.holds) || a.ageMs - b.ageMs
  );
}

/** Whether a fact takes a GPU out of service: it needs a reset, or is broken. */
export function isGrave(fact: Pick<HealthFact, "class">): boolean {
  return fact.class === "reset" || fact.class === "hardware";
}

/** A fact as documents and events carry it. */
export function factEntry(fact: HealthFact): HealthFactEntry {
  return {
    fact_id: fact.factId,
    kind: fact.kind,
    class: fact.class,
    ...(fact.code === undefined ? {} : { code: fact.code }),
    evidence: fact.evidence,
    holds: fact.holds,
    age_ms: fact.ageMs,
  };
}

/** The gravest facts, as documents and events carry them. */
export function factEntries(facts: readonly HealthFact[]): HealthFactEntry[] {
  return facts.slice(0, MAX_SHOWN_FACTS).map(factEntry);
}
