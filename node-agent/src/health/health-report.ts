import {
  type HealthFact,
  HealthFactSchema,
  type HealthReport,
  HealthReportSchema,
  type Quality,
} from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import type { Happening } from "./happenings.ts";
import { CONDITION_CLASSES } from "./health-signals.ts";
import type { Condition, Conditions } from "./judge-health.ts";

/** What a report is made of. */
export interface HealthState {
  readonly nowMs: number;
  readonly bootId: string;
  readonly conditions: Conditions;
  readonly happenings: readonly Happening[];
  /** UUIDs of GPUs by PCI address, as `pciKey` spells it. */
  readonly uuids: ReadonlyMap<string, string>;
  readonly kernelLog: Quality;
}

const MAX_FACTS = 256;
const MAX_EVIDENCE = 512;

/**
 * Everything that is known, at most 256 facts: the gravest first, of equal gravity what still holds, of
 * those the newest. Pure.
 */
export function healthReport(state: HealthState): HealthReport {
  const { nowMs, conditions, happenings, kernelLog } = state;
  const held = [...conditions.values()].filter(({ holds }) => holds);
  const facts = [
    ...held.map((condition) => ({ fact: conditionFact(condition), atMs: condition.sinceMs })),
    ...happenings.map((one) => ({ fact: happeningFact(one, state), atMs: one.atMs })),
  ];
  facts.sort(
    (a, b) =>
      b.fact.healthClass - a.fact.healthClass ||
      Number(b.fact.holds) - Number(a.fact.holds) ||
      b.atMs - a.atMs,
  );
  return create(HealthReportSchema, {
    facts: facts
      .slice(0, MAX_FACTS)
      .map(({ fact, atMs }) => ({ ...fact, ageMs: age(nowMs, atMs) })),
    kernelLog,
  });
}

/** Everything of a report but the ages, which change by themselves; two equal ones need one message. */
export function reportIdentity({ facts, kernelLog }: HealthReport): string {
  const said = facts.map(({ factId, gpuUuid, kind, healthClass, code, evidence, holds }) => [
    factId,
    gpuUuid,
    kind,
    healthClass,
    code,
    evidence,
    holds,
  ]);
  return JSON.stringify([kernelLog, said]);
}

function conditionFact({ kind, subject, gpuUuid, evidence }: Condition): HealthFact {
  return create(HealthFactSchema, {
    factId: `${kind}/${subject}`,
    gpuUuid,
    kind,
    healthClass: CONDITION_CLASSES[kind],
    evidence: evidence.slice(0, MAX_EVIDENCE),
    holds: true,
  });
}

function happeningFact(one: Happening, { bootId, uuids }: HealthState): HealthFact {
  return create(HealthFactSchema, {
    factId: `${bootId}/${one.seq}`,
    // An NVSwitch has an address of its own, and no GPU.
    gpuUuid: one.kind === "xid" ? (uuids.get(one.pci) ?? "") : "",
    kind: one.kind,
    healthClass: one.healthClass,
    code: one.code,
    evidence: one.line.slice(0, MAX_EVIDENCE),
    holds: false,
  });
}

function age(nowMs: number, atMs: number): bigint {
  return BigInt(Math.max(0, Math.round(nowMs - atMs)));
}
