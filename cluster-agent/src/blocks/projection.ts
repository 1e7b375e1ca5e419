import { BerthError, isJsonObject, typeName } from "@berth/service-kit";

/** Most fields of a projection. */
export const MAX_PROJECTED_FIELDS = 1_000;

/** Gives the part of a document that was asked for; the document stays as it is. */
export type Projection = (document: Record<string, unknown>) => Record<string, unknown>;

/** Fields by name: `true` for the whole of one, else those below. */
type Fields = Map<string, Fields | true>;

/**
 * Compiles a MongoDB projection: `{path: 1}` shows these fields only, `{path: 0}` all but these; true and false do as
 * well, `_id` stands beside either. An array on the way stands for each of its items. INVALID_ARGUMENT names the field
 * and what was expected. Numbers of the document may be kept as text.
 */
export function compileProjection(asked: unknown, field: string): Projection {
  if (!isJsonObject(asked)) {
    throw new BerthError(
      "INVALID_ARGUMENT",
      `${field}: expected an object, got ${typeName(asked)}`,
    );
  }
  const choices = Object.entries(asked).map(([path, value]) => choiceOf(path, value, field));
  if (choices.length > MAX_PROJECTED_FIELDS) {
    const message = `${field}: expected at most ${MAX_PROJECTED_FIELDS} fields, got ${choices.length}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const isIncluding = direction(choices, field);
  const fields: Fields = new Map();
  // MongoDB shows "_id" unless it is told not to.
  if (isIncluding) fields.set("_id", true);
  for (const { path, isShown } of choices) {
    if (isShown === isIncluding) add(fields, path, field);
    else fields.delete("_id");
  }
  return isIncluding
    ? (document) => included(document, fields)
    : (document) => excluded(document, fields);
}

interface Choice {
  readonly path: string;
  readonly isShown: boolean;
}

function choiceOf(path: string, value: unknown, field: string): Choice {
  const keys = path.split(".");
  if (keys.some((key) => key === "" || key === "__proto__" || key.startsWith("$"))) {
    const name = JSON.stringify(path.slice(0, 200));
    throw new BerthError("INVALID_ARGUMENT", `${field}: ${name} is not a field's path`);
  }
  const isShown = value === 1 || value === true;
  if (isShown || value === 0 || value === false) return { path, isShown };
  const message = `${field}.${path.slice(0, 200)}: expected 1 to show the field, or 0 to leave it out`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** Whether the projection names what is shown; "_id" alone decides only when it stands alone. */
function direction(choices: readonly Choice[], field: string): boolean {
  const others = choices.filter(({ path }) => path !== "_id");
  const [first] = others.length > 0 ? others : choices;
  const mixed = others.find(({ isShown }) => isShown !== first?.isShown);
  if (first === undefined || mixed === undefined) return first?.isShown ?? false;
  const message = `${field}.${mixed.path}: expected all fields 1 or all fields 0, but for _id; ${first.path} is ${Number(first.isShown)}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

function add(fields: Fields, path: string, field: string): void {
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  let inner = fields;
  for (const key of keys) {
    const below = inner.get(key) ?? new Map();
    if (below === true) throw collision(path, field);
    inner.set(key, below);
    inner = below;
  }
  const former = inner.get(last);
  if (former !== undefined && former !== true) throw collision(path, field);
  inner.set(last, true);
}

function collision(path: string, field: string): BerthError {
  const message = `${field}.${path}: expected either a field or what is below it, not both`;
  return new BerthError("INVALID_ARGUMENT", message);
}

function included(document: Record<string, unknown>, fields: Fields): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  // What is not shown is not looked at: documents make some of their fields when they are.
  for (const key of Object.keys(document)) {
    const below = fields.get(key);
    if (below === undefined) continue;
    const value = document[key];
    if (below === true) shown[key] = value;
    else if (isCompound(value)) shown[key] = includedValue(value, below);
  }
  return shown;
}

/** Items of arrays that are no objects or arrays have nothing to show. */
function includedValue(value: object, fields: Fields): unknown {
  if (!Array.isArray(value)) return included(value as Record<string, unknown>, fields);
  return value.filter(isCompound).map((item) => includedValue(item, fields));
}

function excluded(document: Record<string, unknown>, fields: Fields): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const key of Object.keys(document)) {
    const below = fields.get(key);
    if (below === true) continue;
    const value = document[key];
    shown[key] = below === undefined ? value : excludedValue(value, below);
  }
  return shown;
}

function excludedValue(value: unknown, fields: Fields): unknown {
  if (Array.isArray(value)) return value.map((item) => excludedValue(item, fields));
  return isJsonObject(value) ? excluded(value, fields) : value;
}

function isCompound(value: unknown): value is object {
  return Array.isArray(value) || isJsonObject(value);
}
