import { BerthError, isJsonObject, typeName } from "@berth/service-kit";
import { readReplicas } from "../quotas/replica-count.ts";
import { readSubjectId } from "../subjects/subject.ts";

/** What a subject uses, as far as it is known. */
export interface Usage {
  /** Cores. */
  readonly cpuUsage?: number;
  /** MB. */
  readonly memoryUsage?: number;
  /** GPUs that are busy: two at half of their time are 1. */
  readonly gpuUsage?: number;
  readonly replicas?: number;
}

/** What one source said of one subject. */
export interface SubjectReport extends Usage {
  readonly subjectId: string;
}

/** What the hardware metrics webhook was told. */
export interface UsageReport {
  /** Names the report, so that one that comes again counts once; absent: it has no name. */
  readonly eventId?: string;
  /** Who measured: "webhook" by default. */
  readonly source: string;
  /** When it was measured, ms since 1970; absent: now. */
  readonly measuredAtMs?: number;
  readonly subjects: readonly SubjectReport[];
}

/** Cores, MB or GPUs of one subject: above all that can be measured, and sums of it are exact enough. */
const MAX_AMOUNT = 1_000_000_000_000;
const MAX_SUBJECTS = 10_000;
const MAX_TEXT_CHARACTERS = 253;
const AMOUNTS = {
  cpu_usage: "cpuUsage",
  memory_usage: "memoryUsage",
  gpu_usage: "gpuUsage",
} as const;
const WRAPPER = ["event_id", "source", "reported_at", "subjects"];

/**
 * Reads what the webhook was sent: `{"event_id", "source", "reported_at", "subjects": [{"subject_id", "cpu_usage",
 * "memory_usage", "gpu_usage", "replicas_reported"}]}`, the list alone, or one such subject with the other three beside. Other fields of a
 * subject are left aside. INVALID_ARGUMENT names the field.
 */
export function readUsageReport(body: unknown): UsageReport {
  if (Array.isArray(body)) return { source: "webhook", subjects: subjectsOf("", body) };
  if (!isJsonObject(body)) {
    throw invalid(`the body: expected an object or a list of subjects, got ${typeName(body)}`);
  }
  const isAlone = body.subjects === undefined && body.subject_id !== undefined;
  const unknown = isAlone ? undefined : Object.keys(body).find((key) => !WRAPPER.includes(key));
  if (unknown !== undefined) {
    throw invalid(`${unknown.slice(0, 100)}: expected one of ${WRAPPER.join(", ")}`);
  }
  const { event_id: eventId, reported_at: at, source = "webhook" } = body;
  return {
    ...(eventId === undefined ? {} : { eventId: textOf("event_id", eventId) }),
    ...(at === undefined ? {} : { measuredAtMs: timeOf("reported_at", at) }),
    source: textOf("source", source),
    subjects: isAlone ? [subjectOf("", body)] : subjectsOf("subjects", body.subjects),
  };
}

function subjectsOf(field: string, value: unknown): readonly SubjectReport[] {
  if (!Array.isArray(value)) {
    const got = value === undefined ? "nothing" : typeName(value);
    throw invalid(`${field}: expected a list of subjects, got ${got}`);
  }
  if (value.length > MAX_SUBJECTS) {
    const name = field === "" ? "the body" : field;
    throw invalid(`${name}: expected at most ${MAX_SUBJECTS} subjects, got ${value.length}`);
  }
  return value.map((one: unknown, place) => subjectOf(under(field, String(place)), one));
}

function subjectOf(field: string, value: unknown): SubjectReport {
  if (!isJsonObject(value)) throw invalid(`${field}: expected an object, got ${typeName(value)}`);
  const amounts = Object.entries(AMOUNTS).flatMap(([key, name]) => {
    const amount = value[key];
    return amount === undefined || amount === null
      ? []
      : [[name, amountOf(under(field, key), amount)] as const];
  });
  const { replicas_reported: replicas } = value;
  return {
    subjectId: readSubjectId(under(field, "subject_id"), value.subject_id),
    ...Object.fromEntries(amounts),
    ...(replicas === undefined || replicas === null
      ? {}
      : { replicas: readReplicas(under(field, "replicas_reported"), replicas) }),
  };
}

function amountOf(field: string, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= MAX_AMOUNT) return value;
  const got = typeof value === "number" ? String(value) : typeName(value);
  throw invalid(`${field}: expected a number from 0 to ${MAX_AMOUNT}, got ${got}`);
}

/** ISO 8601, or seconds or milliseconds since 1970. */
function timeOf(field: string, value: unknown): number {
  const ms = typeof value === "number" ? (value < 1e11 ? value * 1_000 : value) : parsed(value);
  if (Number.isFinite(ms) && ms >= 0) return Math.round(ms);
  throw invalid(`${field}: expected a time, as ISO 8601 or in seconds since 1970`);
}

function parsed(value: unknown): number {
  return typeof value === "string" ? Date.parse(value) : Number.NaN;
}

function textOf(field: string, value: unknown): string {
  if (typeof value === "string" && value !== "" && value.length <= MAX_TEXT_CHARACTERS) {
    return value;
  }
  throw invalid(`${field}: expected text of 1-${MAX_TEXT_CHARACTERS} characters`);
}

function under(field: string, key: string): string {
  return field === "" ? key : `${field}.${key}`;
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
