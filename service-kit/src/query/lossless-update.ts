import { cloneJson, isJsonObject } from "../json.ts";
import { isRawNumber } from "../lossless-json.ts";
import { applyUpdate } from "./update.ts";

/** A value whose numbers are plain or `RawNumber`s, as `parseLossless` gives it. */
type Lossless = unknown;
type LosslessObject = Record<string, unknown>;

/** The same value with plain numbers only: what decisions and filters read. */
export function plainOf(value: Lossless): unknown {
  if (isRawNumber(value)) return Number(value.rawJSON);
  if (Array.isArray(value)) return value.map(plainOf);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, plainOf(child)]));
}

/**
 * `applyUpdate` on a document and an update whose numbers are kept as they were written:
 * what the update does not touch, and what it brings, keeps its text; only sums of `$inc` are new
 * numbers. Throws INVALID_ARGUMENT as `applyUpdate` does.
 */
export function updateLossless(
  document: LosslessObject,
  update: Lossless,
  immutable: readonly string[],
): LosslessObject {
  // What an update means is decided on plain numbers, as a filter of `$pull` compares them; the texts
  // are put back afterwards. No path of an update lies within another one.
  const after = applyUpdate(plainOf(document) as object, plainOf(update), immutable);
  const result = cloneJson(document);
  const fields = update as LosslessObject;
  const isModifier = Object.keys(fields).some((key) => key.startsWith("$"));
  for (const [operator, operands] of Object.entries(isModifier ? fields : { $set: fields })) {
    for (const [path, operand] of Object.entries(operands as LosslessObject)) {
      const steps = path.split(".");
      const before = valueAt(result, steps);
      place(result, steps, written(operator, { operand, before, after: valueAt(after, steps) }));
    }
  }
  return result;
}

interface Change {
  readonly operand: Lossless;
  readonly before: Lossless;
  /** What the update made of it, in plain numbers. */
  readonly after: unknown;
}

/** A changed value as it was written; undefined when it is gone. */
function written(operator: string, { operand, before, after }: Change): Lossless {
  if (operator === "$set") return cloneJson(operand);
  if (!Array.isArray(after)) return after;
  const was = Array.isArray(before) ? before : [];
  return operator === "$push"
    ? restored(after, [...was, ...pushed(operand)])
    : restored(after, was);
}

function pushed(operand: Lossless): readonly Lossless[] {
  const isMany = isJsonObject(operand) && Array.isArray(operand.$each);
  return isMany ? (operand.$each as readonly Lossless[]) : [operand];
}

/** The items of a list as they were written, found among those that it was made from. */
function restored(after: readonly unknown[], sources: readonly Lossless[]): readonly Lossless[] {
  const byText = Map.groupBy(sources, (source) => JSON.stringify(plainOf(source)));
  return after.map((item) => byText.get(JSON.stringify(item))?.shift() ?? item);
}

function valueAt(value: unknown, steps: readonly string[]): unknown {
  let found = value;
  for (const step of steps) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, step))
      return undefined;
    found = (found as LosslessObject)[step];
  }
  return found;
}

/** Puts a value where a path leads, with the objects on the way; undefined takes away what is there. */
function place(document: LosslessObject, steps: readonly string[], value: Lossless): void {
  const last = steps.at(-1) ?? "";
  let target = document;
  for (const step of steps.slice(0, -1)) {
    const next = Object.hasOwn(target, step) ? target[step] : undefined;
    if (typeof next === "object" && next !== null) {
      target = next as LosslessObject;
      continue;
    }
    if (value === undefined) return;
    const made: LosslessObject = {};
    target[step] = made;
    target = made;
  }
  if (value === undefined) delete target[last];
  else target[last] = value;
}
