import type { HealthReport } from "@berth/proto";
import { HealthClass, type HealthClassName, type HealthFact as SentFact } from "@berth/proto";
import { readingQuality } from "./check-samples.ts";
import { type Checked, FieldCheck, isToken } from "./field-check.ts";
import { byGravity, type HealthFact, type HealthReading } from "./health-facts.ts";
import { shownText } from "./shown-text.ts";

/** Most facts of a report, and most characters of their evidence. */
export const HEALTH_LIMITS = { facts: 256, evidence: 512 } as const;

const FACT_ID = /^[!-~]{1,192}$/;
const KIND = /^[a-z][a-z0-9_]{0,63}$/;

/**
 * Checks a health report. A fact without a usable id or kind, one whose id came before, and what is beyond
 * the limits is left out and told in `problems`.
 */
export function checkHealth(report: HealthReport): Checked<HealthReading> {
  const check = new FieldCheck("health");
  const known = new Set<string>();
  const facts: HealthFact[] = [];
  for (const sent of check.atMost("facts", report.facts, HEALTH_LIMITS.facts)) {
    const fact = checkFact(sent, check);
    if (fact === undefined) continue;
    if (known.has(fact.factId)) {
      check.drop("facts.factId", "expected different ids");
      continue;
    }
    known.add(fact.factId);
    facts.push(fact);
  }
  facts.sort(byGravity);
  const reading = { facts, kernelLog: readingQuality(report.kernelLog) };
  return { reading, problems: check.problems };
}

/** The word for a class of the wire; "not said" and unknown ones read as application. */
export function healthClass(sent: HealthClass): HealthClassName {
  switch (sent) {
    case HealthClass.INFO:
      return "info";
    case HealthClass.RESET:
      return "reset";
    case HealthClass.HARDWARE:
      return "hardware";
    default:
      return "application";
  }
}

function checkFact(sent: SentFact, check: FieldCheck): HealthFact | undefined {
  const { factId, gpuUuid, kind, code, evidence, holds } = sent;
  if (!FACT_ID.test(factId)) {
    check.drop("facts.factId", "expected 1-192 printable characters");
    return undefined;
  }
  if (!KIND.test(kind)) {
    check.drop("facts.kind", "expected 1-64 characters of [a-z0-9_]");
    return undefined;
  }
  const isNamed = gpuUuid === "" || isToken(gpuUuid);
  // What is known to be wrong counts, if not for a GPU then for the node.
  if (!isNamed) check.drop("facts.gpuUuid", "expected a UUID");
  return {
    factId,
    gpuUuid: isNamed ? gpuUuid : "",
    kind,
    class: healthClass(sent.healthClass),
    ...(code === 0 ? {} : { code }),
    evidence: shownText(evidence, HEALTH_LIMITS.evidence),
    holds,
    ageMs: Math.min(Number(sent.ageMs), Number.MAX_SAFE_INTEGER),
  };
}
