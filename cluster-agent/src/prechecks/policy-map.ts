import { isJsonObject, typeName } from "@berth/service-kit";
import { type Hook, isHook } from "./hooks.ts";

/** What a denial does: refuses; is told and does nothing; is written down only. */
export type PrecheckMode = "enforce" | "warn" | "audit";

/** The policy that governs a hook. */
export interface PrecheckPolicy {
  readonly policyRuleUri: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly mode: PrecheckMode;
}

/** What the map says of one hook. A value that cannot be read refuses the action: nobody meant it to be free. */
export type MapEntry =
  | { readonly kind: "none" }
  | { readonly kind: "policy"; readonly policy: PrecheckPolicy }
  | { readonly kind: "unreadable"; readonly why: string };

const MAX_URI_CHARACTERS = 512;
const MODES: readonly string[] = ["enforce", "warn", "audit"];

/**
 * Reads `config.actionsPolicyMap[hook]`: a URI, or `{policyRuleURI, parameters, settings, mode}`, as the existing deployment's
 * parts write either. Empty and absent mean that nothing governs the hook.
 */
export function mapEntry(map: unknown, hook: Hook): MapEntry {
  if (map === undefined || map === null) return { kind: "none" };
  if (!isJsonObject(map)) return unreadable(`: expected an object, got ${typeName(map)}`);
  const value = Object.hasOwn(map, hook) ? map[hook] : undefined;
  if (value === undefined || value === null || value === "") return { kind: "none" };
  const entry = typeof value === "string" ? { policyRuleURI: value } : value;
  if (isJsonObject(entry)) return readEntry(hook, entry);
  return unreadable(`.${hook}: expected a policy URI or an object, got ${typeName(value)}`);
}

function readEntry(hook: Hook, entry: Readonly<Record<string, unknown>>): MapEntry {
  const { policyRuleURI: uri, parameters = {}, settings = {}, mode = "enforce" } = entry;
  if (uri === undefined && Object.keys(entry).length > 0) {
    return unreadable(`.${hook}.policyRuleURI: required field is missing; "" is for no policy`);
  }
  if (uri === undefined || uri === null || uri === "") return { kind: "none" };
  if (typeof uri !== "string") {
    return unreadable(`.${hook}.policyRuleURI: expected a text, got ${typeName(uri)}`);
  }
  if (uri.length > MAX_URI_CHARACTERS) {
    return unreadable(`.${hook}.policyRuleURI: expected at most ${MAX_URI_CHARACTERS} characters`);
  }
  for (const [name, given] of Object.entries({ parameters, settings })) {
    if (isJsonObject(given)) continue;
    return unreadable(`.${hook}.${name}: expected an object, got ${typeName(given)}`);
  }
  if (typeof mode !== "string" || !MODES.includes(mode)) {
    return unreadable(`.${hook}.mode: expected one of ${MODES.join(", ")}`);
  }
  const policy = { policyRuleUri: uri, parameters, settings, mode } as PrecheckPolicy;
  return { kind: "policy", policy };
}

/** Keys of the map that name no hook; they are kept, and do nothing. */
export function unknownHooks(map: unknown): readonly string[] {
  return isJsonObject(map) ? Object.keys(map).filter((name) => !isHook(name)) : [];
}

function unreadable(why: string): MapEntry {
  return { kind: "unreadable", why: `config.actionsPolicyMap${why}` };
}
