import { BerthError, isJsonObject, toNumber, typeName } from "@berth/service-kit";
import type { GuardRules } from "../guards/guard-rules.ts";
import { readGuardRules, showGuardRules } from "../guards/read-guard-rules.ts";
import type { SettingBody } from "./versioned-setting.ts";

/** What runs at each evaluation, and what bounds what comes of it. */
export interface AutoscaleRules {
  /** The workflow that decides; undefined: nothing is evaluated. */
  readonly workflowId: string | undefined;
  readonly guards: GuardRules;
  /** Of subjects with rules of their own. */
  readonly subjectGuards: ReadonlyMap<string, GuardRules>;
  /** How long a human has to approve a change, ms; who does not answer has refused. */
  readonly approvalMs: number;
}

const MAX_SUBJECTS = 10_000;
const APPROVAL_SECONDS = { least: 1, most: 86_400, byDefault: 600 } as const;
const FIELDS = ["workflow_id", "guards", "subjects", "approval_seconds"];

/**
 * Reads the rules of the autoscaler: `{"workflow_id", "guards": {…}, "subjects": {"<id>": {…}}, "approval_seconds"}`, all of which
 * may be absent. What a subject's rules do not say is as in `guards`. INVALID_ARGUMENT names the field.
 */
export function readAutoscaleRules(body: SettingBody): AutoscaleRules {
  const unknown = Object.keys(body).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined) {
    throw invalid(`${unknown.slice(0, 60)}: unknown field; expected one of ${FIELDS.join(", ")}`);
  }
  const { workflow_id: workflowId, guards = {}, subjects = {} } = body;
  if (workflowId !== undefined && (typeof workflowId !== "string" || workflowId === "")) {
    throw invalid(`workflow_id: expected the id of a workflow, got ${typeName(workflowId)}`);
  }
  return {
    ...{ workflowId, guards: readGuardRules("guards", plainNumbers(guards)) },
    subjectGuards: readSubjects(guards, subjects),
    approvalMs: readApprovalSeconds(body.approval_seconds) * 1_000,
  };
}

/** The rules of one subject. */
export function guardsOf({ guards, subjectGuards }: AutoscaleRules, subjectId: string): GuardRules {
  return subjectGuards.get(subjectId) ?? guards;
}

/** The rules as clients read them, with what is so by default. */
export function showAutoscaleRules(rules: AutoscaleRules, body: SettingBody): SettingBody {
  return {
    workflow_id: rules.workflowId ?? null,
    guards: showGuardRules(rules.guards),
    subjects: body.subjects ?? {},
    approval_seconds: rules.approvalMs / 1_000,
  };
}

/** A body with a change made in it as by RFC 7396: objects are merged, null takes a member away. */
export function mergePatch(before: SettingBody, change: SettingBody): SettingBody {
  // A subject may have any name: "__proto__" is no member that can be assigned.
  const after = new Map<string, unknown>(Object.entries(before));
  for (const [key, value] of Object.entries(change)) {
    const known = after.get(key);
    if (value === null) after.delete(key);
    else if (!isJsonObject(value)) after.set(key, value);
    else after.set(key, mergePatch(isJsonObject(known) ? known : {}, value));
  }
  return Object.fromEntries(after);
}

function readSubjects(guards: unknown, subjects: unknown): ReadonlyMap<string, GuardRules> {
  if (!isJsonObject(subjects)) {
    throw invalid(`subjects: expected an object of rules by subject, got ${typeName(subjects)}`);
  }
  const entries = Object.entries(subjects);
  if (entries.length > MAX_SUBJECTS) {
    throw invalid(`subjects: expected at most ${MAX_SUBJECTS}, got ${entries.length}`);
  }
  const common = isJsonObject(guards) ? guards : {};
  return new Map(
    entries.map(([subjectId, own]) => {
      const field = `subjects[${JSON.stringify(subjectId.slice(0, 100))}]`;
      if (!isJsonObject(own)) throw invalid(`${field}: expected an object, got ${typeName(own)}`);
      const rules = readGuardRules(field, plainNumbers(mergePatch(common, own)));
      return [subjectId, rules];
    }),
  );
}

function readApprovalSeconds(value: unknown): number {
  const { least, most, byDefault } = APPROVAL_SECONDS;
  if (value === undefined) return byDefault;
  const seconds = toNumber(value) ?? Number.NaN;
  if (seconds >= least && seconds <= most) return seconds;
  throw invalid(`approval_seconds: expected a number from ${least} to ${most}`);
}

/** Numbers that were kept as text, as numbers. */
function plainNumbers(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
