import { messageOf, usageError } from "../cli-error.ts";
import { isObject, parseLossless } from "../json.ts";

/** The options of `berth allocate` as given on the command line. */
export interface AllocateOptions {
  readonly policy: string;
  readonly gpus?: string;
  readonly input?: readonly string[];
  readonly inputs?: string;
  readonly cluster?: readonly string[];
  readonly parameters?: string;
  readonly settings?: string;
}

/** Body of POST /allocate. Numbers keep their text where JavaScript would write them otherwise. */
export interface AllocationBody {
  readonly policy_rule_uri: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly clusters?: readonly string[];
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly settings?: Readonly<Record<string, unknown>>;
}

/**
 * Builds the request. `--inputs` comes first, `--input key=value` and `--gpus` override its keys.
 * `readFile` gives the text behind `@file`. Throws a usage error that names the option.
 */
export function allocationBody(
  options: AllocateOptions,
  readFile: (path: string) => string,
): AllocationBody {
  const parameters = parseObject("--parameters", options.parameters, readFile);
  const settings = parseObject("--settings", options.settings, readFile);
  const inputs = {
    ...parseObject("--inputs", options.inputs, readFile),
    ...Object.fromEntries((options.input ?? []).map(parseInput)),
    ...(options.gpus === undefined ? {} : { gpus: parseCount("--gpus", options.gpus) }),
  };
  return {
    policy_rule_uri: options.policy,
    inputs,
    ...(options.cluster && { clusters: options.cluster }),
    ...(parameters && { parameters }),
    ...(settings && { settings }),
  };
}

function parseInput(text: string): [string, unknown] {
  const cut = text.indexOf("=");
  if (cut <= 0) throw usageError(`--input ${JSON.stringify(text)}: expected key=value`);
  return [text.slice(0, cut), parseValue(text.slice(0, cut), text.slice(cut + 1))];
}

/** JSON where it is JSON; a bare word is text, but broken JSON is not quietly taken as text. */
function parseValue(key: string, text: string): unknown {
  try {
    return parseLossless(text);
  } catch (cause) {
    if (!/^\s*["[{]/.test(text)) return text;
    throw usageError(`--input ${key}: not JSON: ${messageOf(cause)}`);
  }
}

function parseObject(
  option: string,
  text: string | undefined,
  readFile: (path: string) => string,
): Record<string, unknown> | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = parseLossless(text.startsWith("@") ? readFile(text.slice(1)) : text);
  } catch (cause) {
    throw usageError(`${option}: expected a JSON object or @file: ${messageOf(cause)}`);
  }
  if (!isObject(value)) throw usageError(`${option}: expected a JSON object or @file`);
  return value;
}

function parseCount(option: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw usageError(`${option} ${JSON.stringify(text)}: expected a whole number from 0`);
}
