import { updateOne } from "mingo/updater";
import { BerthError } from "../errors.ts";
import { isJsonObject } from "../json.ts";
import { typeName } from "../validate.ts";

const OPERATORS = ["$set", "$unset", "$inc", "$push", "$pull"];

/**
 * Applies a MongoDB-style update (`$set $unset $inc $push $pull`, or plain fields, which mean `$set`;
 * dotted paths) to a copy of a document. Throws INVALID_ARGUMENT that names what does not hold:
 * unknown operators, operators mixed with fields, a change of one of the `immutable` paths.
 */
export function applyUpdate<T extends object>(
  document: T,
  update: unknown,
  immutable: readonly string[],
): T {
  const modifier = toModifier(update);
  for (const [operator, fields] of Object.entries(modifier))
    checkFields(operator, fields, immutable);
  const copy = structuredClone(document);
  try {
    updateOne([copy] as never, {}, modifier as never, { cloneMode: "deep" });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", `the update does not apply: ${why}`, { cause });
  }
  return copy;
}

function toModifier(update: unknown): Record<string, unknown> {
  if (!isJsonObject(update) || Object.keys(update).length === 0) {
    const message = `the update: expected a non-empty object, got ${typeName(update)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const operators = Object.keys(update).filter((key) => key.startsWith("$"));
  if (operators.length === 0) return { $set: update };
  for (const key of Object.keys(update)) {
    if (OPERATORS.includes(key)) continue;
    const why = key.startsWith("$") ? "is not supported" : "cannot stand beside operators";
    const message = `the update: ${JSON.stringify(key)} ${why}; use ${OPERATORS.join(", ")}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return update;
}

function checkFields(operator: string, fields: unknown, immutable: readonly string[]): void {
  if (!isJsonObject(fields)) {
    const message = `${operator}: expected an object, got ${typeName(fields)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  for (const path of Object.keys(fields)) {
    if (
      path.split(".").some((key) => ["", "__proto__", "constructor", "prototype"].includes(key))
    ) {
      throw new BerthError("INVALID_ARGUMENT", `${operator}.${path}: not a field path`);
    }
    if (immutable.some((fixed) => path === fixed || path.startsWith(`${fixed}.`))) {
      throw new BerthError("INVALID_ARGUMENT", `${operator}.${path}: this field cannot be changed`);
    }
  }
}
