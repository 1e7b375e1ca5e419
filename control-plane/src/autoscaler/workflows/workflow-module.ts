import { isJsonObject, toNumber } from "@berth/service-kit";
import { type Condition, readConditions } from "./condition.ts";
import { type Body, invalid, pathOf, shown } from "./workflow-body.ts";
import { didYouMean } from "./workflow-graph.ts";

/** The code of a module: a published policy by its URI, or Python text. */
export type ModuleCode =
  | { readonly kind: "policy"; readonly uri: string }
  | { readonly kind: "inline"; readonly python: string };

/** One step of a workflow. */
export interface WorkflowModule {
  readonly code: ModuleCode;
  readonly settings: Body;
  readonly parameters: Body;
  /** How long one attempt may take, in ms. */
  readonly timeoutMs: number;
  /** Further attempts after the first one, for failures that can pass. */
  readonly retries: number;
  /** What counts as its output when all attempts failed; undefined when the workflow fails then. */
  readonly fallback: unknown;
  /** All of them must hold, or the module is skipped. */
  readonly when: readonly Condition[];
}

/** Most seconds of one attempt, and the default: what the sandbox gives a workflow's module. */
export const MAX_TIMEOUT_SECONDS = 30;
/** Most further attempts. */
export const MAX_RETRIES = 3;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** `name:version-tag`, as policies are published. */
const POLICY_URI =
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}:[A-Za-z0-9][A-Za-z0-9._+-]{0,63}-[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const FIELDS: readonly string[] = [
  ...["codePath", "policyRuleURI", "code", "settings", "parameters"],
  ...["timeout_seconds", "retries", "fallback", "when"],
];

/** Checks the name of a module or a workflow: 1 to 64 letters, digits, "_" and "-". INVALID_ARGUMENT. */
export function checkName(name: unknown, field: string): string {
  if (typeof name === "string" && NAME.test(name)) return name;
  throw invalid(
    `${field}: expected a name of 1 to 64 letters, digits, "_" or "-", got ${shown(name)}`,
  );
}

/** Reads an object of the client that may be absent: `{}` then. INVALID_ARGUMENT names the field. */
export function readObject(value: unknown, field: string): Body {
  if (value === undefined || value === null) return {};
  if (isJsonObject(value)) return value;
  throw invalid(`${field}: expected an object, got ${shown(value)}`);
}

/** Warnings of the keys that nobody reads, each with the one that may have been meant. */
export function unknownKeys(
  body: Body,
  known: readonly string[],
  field: string,
): readonly string[] {
  const unknown = Object.keys(body).filter((key) => !known.includes(key));
  return unknown.map(
    (key) => `${pathOf(field, key)}: is not known and not used.${didYouMean(key, known)}`,
  );
}

/** Reads one module and tells what it holds that nobody reads. INVALID_ARGUMENT names the field. */
export function readModule(
  value: unknown,
  field: string,
): { readonly module: WorkflowModule; readonly warnings: readonly string[] } {
  if (!isJsonObject(value)) throw invalid(`${field}: expected an object, got ${shown(value)}`);
  const seconds = readNumber(value.timeout_seconds, `${field}.timeout_seconds`, {
    ...{ least: 0.001, most: MAX_TIMEOUT_SECONDS, otherwise: MAX_TIMEOUT_SECONDS },
  });
  const retries = readNumber(value.retries, `${field}.retries`, {
    ...{ least: 0, most: MAX_RETRIES, otherwise: 0, isWhole: true },
  });
  const module: WorkflowModule = {
    code: readCode(value, field),
    settings: readObject(value.settings, `${field}.settings`),
    parameters: readObject(value.parameters, `${field}.parameters`),
    ...{ timeoutMs: Math.ceil(seconds * 1000), retries },
    // Null is an output like any other.
    fallback: value.fallback,
    when: readConditions(value.when, `${field}.when`),
  };
  return { module, warnings: unknownKeys(value, FIELDS, field) };
}

function readCode(value: Body, field: string): ModuleCode {
  const given = ["policyRuleURI", "code", "codePath"].filter(
    (key) => value[key] !== undefined && value[key] !== null && value[key] !== "",
  );
  const [first] = given;
  if (first === undefined || given.length > 1) {
    const found = given.length === 0 ? "none of them" : given.join(" and ");
    throw invalid(`${field}: expected one of policyRuleURI, code and codePath, got ${found}`);
  }
  const place = `${field}.${first}`;
  if (first === "policyRuleURI") return { kind: "policy", uri: readUri(value[first], place) };
  return first === "code" ? readInline(value[first], place) : readCodePath(value[first], place);
}

function readUri(value: unknown, field: string): string {
  if (typeof value === "string" && POLICY_URI.test(value)) return value;
  const expected = "the URI of a published policy, name:version-release_tag";
  throw invalid(`${field}: expected ${expected}, got ${shown(value)}`);
}

function readInline(value: unknown, field: string): ModuleCode {
  if (typeof value === "string") return { kind: "inline", python: value };
  if (!isJsonObject(value)) {
    throw invalid(`${field}: expected Python text or {"python": text}, got ${shown(value)}`);
  }
  const other = Object.keys(value).find((key) => key !== "python");
  if (other !== undefined) {
    throw invalid(`${pathOf(field, other)}: modules run in Python only; expected {"python": text}`);
  }
  const { python } = value;
  if (typeof python === "string" && python.trim() !== "") return { kind: "inline", python };
  throw invalid(`${field}.python: expected Python text, got ${shown(python)}`);
}

/** A path of the existing deployment means a file of another machine; a URL may change what it answers. */
function readCodePath(value: unknown, field: string): ModuleCode {
  if (typeof value === "string" && POLICY_URI.test(value)) return { kind: "policy", uri: value };
  const what = "a URL or path is not fetched";
  const advice = "publish the code as a policy and name it, name:version-release_tag";
  throw invalid(`${field}: ${what}; ${advice}, got ${shown(value)}`);
}

function readNumber(
  value: unknown,
  field: string,
  rule: {
    readonly least: number;
    readonly most: number;
    readonly otherwise: number;
    readonly isWhole?: boolean;
  },
): number {
  if (value === undefined || value === null) return rule.otherwise;
  const number = toNumber(value) ?? Number.NaN;
  const { least, most, isWhole = false } = rule;
  if (number >= least && number <= most && (!isWhole || Number.isInteger(number))) return number;
  const what = isWhole ? "a whole number" : "a number";
  throw invalid(`${field}: expected ${what} from ${least} to ${most}, got ${shown(value)}`);
}
