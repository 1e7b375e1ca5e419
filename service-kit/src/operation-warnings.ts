import { isJsonObject } from "./json.ts";

/** Instances that one warning names. */
const NAMED = 3;

/**
 * What a client is to be warned of although its operation is done, as agents and the gateway tell it: instances that did not
 * take an update of parameters, which the record holds all the same. `result` is by instance id: `{success, message}`.
 */
export function operationWarnings(action: string, result: unknown): readonly string[] {
  if (action !== "parameter_update" || !isJsonObject(result)) return [];
  const replies = Object.entries(result);
  const refused = replies.flatMap(([id, reply]) => {
    if (!isJsonObject(reply) || reply.success !== false) return [];
    return [`${id}: ${String(reply.message ?? "no reason")}`];
  });
  if (refused.length === 0) return [];
  const more = refused.length > NAMED ? `; and ${refused.length - NAMED} more` : "";
  const count = `${refused.length} of ${replies.length} instances did not take the update`;
  return [`${count}, which the record holds: ${refused.slice(0, NAMED).join("; ")}${more}`];
}
