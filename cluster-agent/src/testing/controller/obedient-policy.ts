/** URI of a policy that says what its parameters tell it to. */
export const OBEDIENT_URI = "obedient:1-s";

/**
 * Its `eval`. Parameters: `deny`, what it returns beside `allowed: false`; or `path` and `value`, what it changes in its
 * input; then `alone`: it returns the member alone in which it did, not the whole input; `under`: the name under which.
 */
export const OBEDIENT: readonly string[] = [
  'if "deny" in parameters:',
  '    return {"allowed": False, **parameters["deny"]}',
  'path = parameters.get("path", [])',
  "at = input_data",
  "for key in path[:-1]:",
  "    at = at[key]",
  "if path:",
  '    at[path[-1]] = parameters["value"]',
  'told = input_data[path[0]] if parameters.get("alone") else input_data',
  'return {"allowed": True, parameters.get("under", "input_data"): told}',
];

/** What {@link OBEDIENT} is told. */
export interface Orders {
  readonly deny?: Readonly<Record<string, unknown>>;
  readonly path?: readonly string[];
  readonly value?: unknown;
  readonly alone?: boolean;
  readonly under?: string;
}

/** The entry of `config.actionsPolicyMap` by which the policy governs a hook. */
export function obedient(parameters: Orders, more: { readonly mode?: string } = {}): object {
  return { policyRuleURI: OBEDIENT_URI, parameters, ...more };
}
