import { BerthError, isJsonObject, typeName } from "@berth/service-kit";
import { MAX_REPLICAS } from "../../org/quotas/replica-count.ts";
import { nearMatches } from "../../policies/near-matches.ts";
import {
  type ApprovalRules,
  DEFAULT_GUARD_RULES,
  type DirectionRules,
  type FlapBudget,
  type GuardRules,
  type RatePolicy,
} from "./guard-rules.ts";

const MAX_STABILIZATION_SECONDS = 3_600;
const MAX_PERIOD_SECONDS = 3_600;
const MAX_SECONDS = 86_400;
const MAX_REVERSALS = 100;
const MAX_RATE_POLICIES = 8;
const MAX_PERCENT = 10_000;
/** Characters of an unknown field that a message repeats. */
const MAX_SHOWN = 60;

type Body = Readonly<Record<string, unknown>>;

/** Names that clients write, in the order in which they are shown. */
const RULES_FIELDS = [
  ...["tolerance", "scale_up", "scale_down", "flap_budget", "stale_after_seconds", "on_stale"],
  ...["approval", "paused", "shadow"],
];
const DIRECTION_FIELDS = ["stabilization_seconds", "cooldown_seconds", "rate_policies", "select"];
const POLICY_FIELDS = ["type", "value", "period_seconds"];
const BUDGET_FIELDS = ["max_reversals", "window_seconds"];
const APPROVAL_FIELDS = ["replicas_above", "change_above"];

/**
 * Reads the guard rules that a client wrote in `field`, over {@link DEFAULT_GUARD_RULES}: what is
 * missing or null is as there. INVALID_ARGUMENT names the field, what was expected and what was
 * found; an unknown field is refused with the names that may have been meant.
 */
export function readGuardRules(field: string, body: unknown): GuardRules {
  const given = readObject(field, body, RULES_FIELDS);
  const { tolerance, staleAfterSeconds, onStale, isPaused, isShadow } = DEFAULT_GUARD_RULES;
  const at = (name: string) => `${field}.${name}`;
  return {
    tolerance: readShare(at("tolerance"), given.tolerance ?? tolerance),
    scaleUp: readDirection(at("scale_up"), given.scale_up, DEFAULT_GUARD_RULES.scaleUp),
    scaleDown: readDirection(at("scale_down"), given.scale_down, DEFAULT_GUARD_RULES.scaleDown),
    flapBudget: readBudget(at("flap_budget"), given.flap_budget),
    staleAfterSeconds: readWhole(
      at("stale_after_seconds"),
      given.stale_after_seconds ?? staleAfterSeconds,
      [1, MAX_SECONDS],
    ),
    onStale: readChoice(at("on_stale"), given.on_stale ?? onStale, ["hold", "no_scale_down"]),
    approval: readApproval(at("approval"), given.approval),
    isPaused: readFlag(at("paused"), given.paused ?? isPaused),
    isShadow: readFlag(at("shadow"), given.shadow ?? isShadow),
  };
}

/** Guard rules as clients read and write them. */
export function showGuardRules(rules: GuardRules): Record<string, unknown> {
  const { flapBudget, approval } = rules;
  return {
    tolerance: rules.tolerance,
    scale_up: showDirection(rules.scaleUp),
    scale_down: showDirection(rules.scaleDown),
    flap_budget: {
      ...{ max_reversals: flapBudget.maxReversals, window_seconds: flapBudget.windowSeconds },
    },
    ...{ stale_after_seconds: rules.staleAfterSeconds, on_stale: rules.onStale },
    approval: {
      replicas_above: approval.replicasAbove ?? null,
      change_above: approval.changeAbove ?? null,
    },
    ...{ paused: rules.isPaused, shadow: rules.isShadow },
  };
}

function showDirection(rules: DirectionRules): Record<string, unknown> {
  return {
    stabilization_seconds: rules.stabilizationSeconds,
    cooldown_seconds: rules.cooldownSeconds,
    rate_policies: rules.ratePolicies.map(({ kind, value, periodSeconds }) => ({
      ...{ type: kind, value, period_seconds: periodSeconds },
    })),
    select: rules.select,
  };
}

function readDirection(field: string, value: unknown, former: DirectionRules): DirectionRules {
  const given = readObject(field, value, DIRECTION_FIELDS);
  return {
    stabilizationSeconds: readWhole(
      `${field}.stabilization_seconds`,
      given.stabilization_seconds ?? former.stabilizationSeconds,
      [0, MAX_STABILIZATION_SECONDS],
    ),
    cooldownSeconds: readWhole(
      `${field}.cooldown_seconds`,
      given.cooldown_seconds ?? former.cooldownSeconds,
      [0, MAX_SECONDS],
    ),
    ratePolicies: readPolicies(`${field}.rate_policies`, given.rate_policies, former.ratePolicies),
    select: readChoice(`${field}.select`, given.select ?? former.select, [
      "max",
      "min",
      "disabled",
    ]),
  };
}

function readPolicies(
  field: string,
  value: unknown,
  former: readonly RatePolicy[],
): readonly RatePolicy[] {
  if (value === undefined || value === null) return former;
  if (!Array.isArray(value)) throw expected(field, "an array of rate policies", value);
  if (value.length > MAX_RATE_POLICIES) {
    throw invalid(`${field}: expected at most ${MAX_RATE_POLICIES} policies, got ${value.length}`);
  }
  return value.map((policy: unknown, index) => readPolicy(`${field}[${index}]`, policy));
}

function readPolicy(field: string, value: unknown): RatePolicy {
  if (!isJsonObject(value)) throw expected(field, "an object", value);
  const given = readObject(field, value, POLICY_FIELDS);
  const kind = readChoice(`${field}.type`, given.type, ["replicas", "percent"]);
  const most = kind === "replicas" ? MAX_REPLICAS : MAX_PERCENT;
  return {
    kind,
    value: readWhole(`${field}.value`, given.value, [1, most]),
    periodSeconds: readWhole(`${field}.period_seconds`, given.period_seconds, [
      1,
      MAX_PERIOD_SECONDS,
    ]),
  };
}

function readBudget(field: string, value: unknown): FlapBudget {
  const given = readObject(field, value, BUDGET_FIELDS);
  const { maxReversals, windowSeconds } = DEFAULT_GUARD_RULES.flapBudget;
  return {
    maxReversals: readWhole(`${field}.max_reversals`, given.max_reversals ?? maxReversals, [
      1,
      MAX_REVERSALS,
    ]),
    windowSeconds: readWhole(`${field}.window_seconds`, given.window_seconds ?? windowSeconds, [
      1,
      MAX_SECONDS,
    ]),
  };
}

function readApproval(field: string, value: unknown): ApprovalRules {
  const given = readObject(field, value, APPROVAL_FIELDS);
  const { replicas_above: replicas, change_above: change } = given;
  const read = (name: string, count: unknown) =>
    readWhole(`${field}.${name}`, count, [0, MAX_REPLICAS]);
  return {
    ...(isTold(replicas) ? { replicasAbove: read("replicas_above", replicas) } : {}),
    ...(isTold(change) ? { changeAbove: read("change_above", change) } : {}),
  };
}

function isTold(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** An object whose fields are all known; a missing one is empty. */
function readObject(field: string, value: unknown, known: readonly string[]): Body {
  if (value === undefined || value === null) return {};
  if (!isJsonObject(value)) throw expected(field, "an object", value);
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown === undefined) return value;
  const near = nearMatches(unknown, known);
  const names = (near.length > 0 ? near : known).map((name) => JSON.stringify(name)).join(", ");
  const hint = near.length > 0 ? `near: ${names}` : `expected one of ${names}`;
  throw invalid(`${field}.${unknown.slice(0, MAX_SHOWN)}: unknown field; ${hint}`);
}

function readWhole(
  field: string,
  value: unknown,
  [least, most]: readonly [number, number],
): number {
  const isWhole = typeof value === "number" && Number.isInteger(value);
  if (isWhole && value >= least && value <= most) return value;
  throw expected(field, `a whole number from ${least} to ${most}`, value);
}

function readShare(field: string, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= 1) return value;
  throw expected(field, "a number from 0 to 1", value);
}

function readFlag(field: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw expected(field, "true or false", value);
}

function readChoice<T extends string>(field: string, value: unknown, choices: readonly T[]): T {
  const choice = choices.find((one) => one === value);
  if (choice !== undefined) return choice;
  throw expected(field, `one of ${choices.map((one) => JSON.stringify(one)).join(", ")}`, value);
}

function expected(field: string, what: string, value: unknown): BerthError {
  if (value === undefined) return invalid(`${field}: required field is missing`);
  const isPlain = typeof value === "string" || typeof value === "number";
  const got = isPlain ? JSON.stringify(value).slice(0, MAX_SHOWN) : typeName(value);
  return invalid(`${field}: expected ${what}, got ${got}`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
