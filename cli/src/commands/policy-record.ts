import { parseDocument, type Scalar, visit } from "yaml";
import { CliError } from "../cli-error.ts";
import { isObject, isRawNumber, losslessNumber } from "../json.ts";

/** The fields of a policy record that its author gives. */
export interface PolicyFields {
  readonly name?: string;
  readonly version?: string;
  readonly release_tag?: string;
  readonly description?: string;
  readonly type?: string;
  readonly tags?: readonly string[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly policy_input_schema?: unknown;
  readonly policy_output_schema?: unknown;
  readonly policy_settings_schema?: unknown;
  readonly policy_parameters_schema?: unknown;
  readonly policy_settings?: Readonly<Record<string, unknown>>;
  readonly policy_parameters?: Readonly<Record<string, unknown>>;
}

/** The flags of `berth policy publish` that become fields. */
export interface PolicyFlags {
  readonly name?: string;
  readonly version?: string;
  readonly tag?: string;
  readonly description?: string;
  readonly type?: string;
}

/** A record that can be published: with its name, version and release tag. */
export type CompletePolicyFields = PolicyFields &
  Required<Pick<PolicyFields, "name" | "version" | "release_tag">>;

const DEFAULT_RELEASE_TAG = "stable";

type Check = (value: unknown) => string | undefined;

const text: Check = (value) => {
  if (typeof value === "string" && value !== "") return undefined;
  return typeof value === "number" || isRawNumber(value)
    ? "text (put the number in quotes)"
    : "text";
};
const textList: Check = (value) =>
  Array.isArray(value) && value.every((item) => typeof item === "string")
    ? undefined
    : "a list of texts";
const object: Check = (value) => (isObject(value) ? undefined : "a mapping");

const KEYS: Readonly<Record<string, Check>> = {
  name: text,
  version: text,
  release_tag: text,
  description: text,
  type: text,
  tags: textList,
  metadata: object,
  policy_input_schema: object,
  policy_output_schema: object,
  policy_settings_schema: object,
  policy_parameters_schema: object,
  policy_settings: object,
  policy_parameters: object,
};

/**
 * Reads the text of a policy.yaml; `path` is for messages. `tag` is another name of `release_tag`.
 * Throws a CliError that names the key and what was expected.
 */
export function parsePolicyYaml(source: string, path: string): PolicyFields {
  const parsed = parseYaml(source, path);
  if (!isObject(parsed)) throw new CliError(`${path}: expected a mapping with name and version`);
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parsed)) {
    const field = key === "tag" ? "release_tag" : key;
    if (Object.hasOwn(fields, field)) {
      throw new CliError(`${path}: tag and release_tag are the same key: expected one of them`);
    }
    const check = Object.hasOwn(KEYS, field) ? KEYS[field] : undefined;
    if (check === undefined) {
      throw new CliError(`${path}: unknown key ${key}: expected ${Object.keys(KEYS).join(", ")}`);
    }
    // An empty key says nothing, as if it were not there.
    if (value === null) continue;
    const expected = check(value);
    if (expected !== undefined) throw new CliError(`${path}: ${key}: expected ${expected}`);
    fields[field] = value;
  }
  return fields;
}

/** Fields of the file overridden by flags; throws a CliError for a name or version that is missing. */
export function completeFields(fields: PolicyFields, flags: PolicyFlags): CompletePolicyFields {
  const { tag, ...named } = flags;
  const merged = { ...fields, ...definedOnly(named), ...(tag && { release_tag: tag }) };
  return {
    ...merged,
    name: required(merged.name, "name"),
    version: required(merged.version, "version"),
    release_tag: merged.release_tag ?? DEFAULT_RELEASE_TAG,
  };
}

function required(value: string | undefined, name: string): string {
  if (value !== undefined && value !== "") return value;
  throw new CliError(
    `the policy has no ${name}: give --${name}, or the key ${name} in policy.yaml`,
  );
}

function definedOnly<T extends object>(flags: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(flags).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
}

function parseYaml(source: string, path: string): unknown {
  const document = parseDocument(source, { prettyErrors: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    throw new CliError(`${path}: not YAML: ${problem.message.split("\n")[0]}`, { cause: problem });
  }
  visit(document, { Scalar: (_key, scalar) => keepNumber(scalar, path) });
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(`${path}: not YAML that can be read: ${why}`, { cause });
  }
}

/** Numbers go into JSON as they were written: 1.0 stays a float. */
function keepNumber(scalar: Scalar, path: string): void {
  if (typeof scalar.value !== "number") return;
  const kept = losslessNumber(scalar.source ?? "");
  if (kept === undefined && !Number.isFinite(scalar.value)) {
    throw new CliError(`${path}: ${scalar.source}: expected a number that JSON can carry`);
  }
  scalar.value = kept ?? scalar.value;
}
