import { isJsonObject, isRawNumber, toNumber } from "@berth/service-kit";
import { shown } from "./workflow-body.ts";

/** What a workflow wants of one subject. */
export interface ReplicaChange {
  readonly subjectId: string;
  /** A whole number from 0 to 100,000. */
  readonly replicas: number;
  /** Why, as the workflow says; empty when it says nothing. */
  readonly reason: string;
}

/** A subject of a result that is left as it is. */
export interface RefusedSubject {
  /** As the workflow wrote it, at most 253 characters of it. */
  readonly subjectId: string;
  /** What was expected and what was found. */
  readonly reason: string;
}

/** What the result of a workflow says. */
export type Decision =
  | {
      readonly kind: "read";
      /** In the order of the result; none when nothing is to change. */
      readonly changes: readonly ReplicaChange[];
      readonly refusals: readonly RefusedSubject[];
    }
  /** The result is none; nothing of it counts. */
  | { readonly kind: "unreadable"; readonly reason: string };

/** Most replicas of a subject. */
export const MAX_SUBJECT_REPLICAS = 100_000;
/** Most subjects of one result. */
export const MAX_SUBJECTS = 10_000;
const MAX_ID_CHARACTERS = 253;
const MAX_REASON_CHARACTERS = 1_000;
const EXPECTED = `a whole number from 0 to ${MAX_SUBJECT_REPLICAS}`;

/**
 * Reads what a workflow returned: an object of subjects, each with its replicas as such or as `{"replicas", "reason"}`;
 * null and `{}` change nothing. The forms of the reference that wrap it, `{"<sink>": …}` and
 * `{"output": …, "previous_outputs": …}`, are taken where they can mean nothing else. A subject that is not as expected
 * is refused, and the others count. Numbers may be kept as text: 3.0 is a float, and floats are refused.
 */
export function readDecision(output: unknown, sink: string): Decision {
  const result = unwrapped(unwrapped(output, "output", ["previous_outputs"]), sink, []);
  if (result === null || result === undefined) return { kind: "read", changes: [], refusals: [] };
  if (!isJsonObject(result)) {
    const found = shown(result);
    const reason = `result: expected an object of subjects and their replicas, got ${found}`;
    return { kind: "unreadable", reason };
  }
  const entries = Object.entries(result);
  if (entries.length > MAX_SUBJECTS) {
    const reason = `result: expected at most ${MAX_SUBJECTS} subjects, got ${entries.length}`;
    return { kind: "unreadable", reason };
  }
  const read = entries.map(([subjectId, value]) => readSubject(subjectId, value));
  return {
    kind: "read",
    changes: read.flatMap((one) => ("replicas" in one ? [one] : [])),
    refusals: read.flatMap((one) => ("replicas" in one ? [] : [one])),
  };
}

/**
 * What stands below a key that an object has alone, but for keys that may be beside it. A number below it, or an object
 * with `replicas`, is a subject of that name.
 */
function unwrapped(value: unknown, key: string, beside: readonly string[]): unknown {
  if (!isJsonObject(value) || !Object.hasOwn(value, key)) return value;
  const others = Object.keys(value).filter((other) => other !== key);
  const isWrapper = others.every((other) => beside.includes(other));
  const inner = value[key];
  const isAlone = isWrapper && isJsonObject(inner) && !Object.hasOwn(inner, "replicas");
  return isAlone ? inner : value;
}

function readSubject(subjectId: string, value: unknown): ReplicaChange | RefusedSubject {
  const told = isJsonObject(value) ? value : { replicas: value };
  const problem = problemOfId(subjectId) ?? problemOfReplicas(told.replicas);
  const replicas = toNumber(told.replicas);
  if (problem !== undefined || replicas === undefined) {
    const reason = problem ?? `replicas: expected ${EXPECTED}`;
    return { subjectId: subjectId.slice(0, MAX_ID_CHARACTERS), reason };
  }
  const reason = typeof told.reason === "string" ? told.reason : "";
  return { subjectId, replicas, reason: reason.slice(0, MAX_REASON_CHARACTERS) };
}

function problemOfId(subjectId: string): string | undefined {
  const isFine = subjectId !== "" && subjectId.length <= MAX_ID_CHARACTERS;
  if (isFine && !/[\0/\n\r]/.test(subjectId)) return undefined;
  return `subject: expected 1 to ${MAX_ID_CHARACTERS} characters on one line without "/"`;
}

function problemOfReplicas(value: unknown): string | undefined {
  const number = toNumber(value);
  if (number === undefined) {
    const found = value === undefined ? "none" : shown(value);
    return `replicas: expected ${EXPECTED}, got ${found}`;
  }
  const isFloat = isRawNumber(value) && /[.eE]/.test(value.rawJSON);
  const isInRange = number >= 0 && number <= MAX_SUBJECT_REPLICAS;
  if (Number.isInteger(number) && isInRange && !isFloat && !Object.is(number, -0)) return undefined;
  return `replicas: expected ${EXPECTED}, got ${shown(value)}`;
}
