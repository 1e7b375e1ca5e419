import {
  BerthError,
  isBerthError,
  isJsonObject,
  jsonDepth,
  parse,
  plainOf,
  toNumber,
  typeName,
} from "@berth/service-kit";
import { type Static, Type } from "typebox";

/** Deepest nesting and largest JSON text (in characters) of a block's entry. */
export const ENTRY_LIMITS = { depth: 32, characters: 256 * 1024 } as const;

/** Longest id of a block, so that "<block>-<instance>" is a label of at most 63 characters. */
export const MAX_BLOCK_ID_CHARACTERS = 50;

/** Ids that are paths of the blocks' API. */
export const RESERVED_BLOCK_IDS: readonly string[] = ["blocks", "query"];

/** Fields of a block's document that follow from other things than its entry. */
export const DERIVED_FIELDS = ["cluster", "instances", "status"] as const;

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const ENV_NAME = /^[A-Za-z_.-][A-Za-z0-9_.-]*$/;
/** What messages call an entry that is a request's whole body. */
const WHOLE = "the block";
/** No program's argument, and no variable, can hold it. */
const NO_NUL = "^[^\\u0000]*$";

const anyObject = Type.Record(Type.String(), Type.Unknown());
/** An object by the documents; existing clients also send lists, which no one reads. */
const protocol = Type.Union([anyObject, Type.Array(Type.Unknown())]);
const amount = (maximum: number) => Type.Optional(Type.Integer({ minimum: 0, maximum }));

/** Most GPUs that one instance can ask for. */
const MAX_GPUS = 1_024;

const containerRegistryInfo = Type.Object({
  containerImage: Type.Optional(Type.String({ maxLength: 2_048 })),
  command: Type.Optional(Type.Array(Type.String({ pattern: NO_NUL }), { maxItems: 1_024 })),
  env: Type.Optional(Type.Record(Type.String(), Type.String({ pattern: NO_NUL }))),
  containerRegistryId: Type.Optional(Type.String()),
  containerImageMetadata: Type.Optional(anyObject),
  componentMode: Type.Optional(Type.String()),
  initContainer: Type.Optional(anyObject),
});

const policy = Type.Union([
  Type.String(),
  Type.Object({
    policyRuleURI: Type.Optional(Type.String()),
    parameters: Type.Optional(anyObject),
    settings: Type.Optional(anyObject),
  }),
]);

/** What one instance needs: Berth's own field, so that nothing unknown may stand there. */
const resources = Type.Object(
  {
    gpus: amount(MAX_GPUS),
    gpuMemoryMiB: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 })),
    cpuMillis: amount(2 ** 31),
    memoryMiB: amount(2 ** 40),
    storageMiB: amount(2 ** 40),
  },
  { additionalProperties: false },
);

/**
 * The entry of a block: what a client says of it, with numbers as doubles. Unknown fields are kept, but for those in
 * `resources`. `id`, `minInstances` and `maxInstances` have rules beside these; see {@link parseBlockEntry}.
 */
export const blockEntrySchema = Type.Object({
  id: Type.String(),
  componentUri: Type.Optional(Type.String()),
  blockUri: Type.Optional(Type.String()),
  blockType: Type.Optional(Type.String()),
  component: Type.Optional(
    Type.Object({ containerRegistryInfo: Type.Optional(containerRegistryInfo) }),
  ),
  blockMetadata: Type.Optional(anyObject),
  policies: Type.Optional(Type.Record(Type.String(), policy)),
  blockInitData: Type.Optional(anyObject),
  initSettings: Type.Optional(anyObject),
  initParameters: Type.Optional(anyObject),
  parameters: Type.Optional(anyObject),
  /** Whole numbers from 0, as such or as text; null stands for none, as if it were absent. */
  minInstances: Type.Optional(Type.Unknown()),
  maxInstances: Type.Optional(Type.Unknown()),
  adhocEnabled: Type.Optional(Type.Boolean()),
  inputProtocol: Type.Optional(protocol),
  outputProtocol: Type.Optional(protocol),
  tags: Type.Optional(Type.Array(Type.String({ maxLength: 253 }), { maxItems: 256 })),
  resources: Type.Optional(resources),
});

/** A value of {@link blockEntrySchema} with the fields that it does not know. */
export type BlockEntry = Static<typeof blockEntrySchema> & Readonly<Record<string, unknown>>;

/**
 * Checks an entry that a client sent, and gives it without the fields that are derived ({@link DERIVED_FIELDS}), as clients
 * send back what they read, and with bounds that are numbers where they were text. Numbers may be kept as text
 * (`parseLossless`) and stay so. INVALID_ARGUMENT names the field and what was expected, PAYLOAD_TOO_LARGE is thrown beyond {@link ENTRY_LIMITS}.
 */
export function parseBlockEntry(value: unknown): BlockEntry {
  if (!isJsonObject(value)) {
    const type = value === undefined ? "nothing" : typeName(value);
    throw invalid(`${WHOLE}: expected an object, got ${type}`);
  }
  if (jsonDepth(value) > ENTRY_LIMITS.depth) {
    throw invalid(`${WHOLE}: expected at most ${ENTRY_LIMITS.depth} nested levels`);
  }
  const { cluster: _cluster, instances: _instances, status: _status, ...own } = value;
  const entry = withNumbers(own);
  const unfit = unfitPlace(entry, []);
  if (unfit !== undefined) throw invalid(unfit);
  checkPlain(plainOf(entry));
  const { length } = JSON.stringify(entry);
  if (length > ENTRY_LIMITS.characters) {
    const message = `${WHOLE}: expected at most ${ENTRY_LIMITS.characters} characters of JSON, got ${length}`;
    throw new BerthError("PAYLOAD_TOO_LARGE", message);
  }
  return entry as BlockEntry;
}

/** {@link parseBlockEntry} of a field of a request: messages name it, "block_data.id: …". */
export function parseBlockField(field: string, value: unknown): BlockEntry {
  try {
    return parseBlockEntry(value);
  } catch (thrown) {
    if (!isBerthError(thrown)) throw thrown;
    const { reason, message, details } = thrown;
    const told = message.startsWith(WHOLE)
      ? `${field}${message.slice(WHOLE.length)}`
      : `${field}.${message}`;
    throw new BerthError(reason, told, {
      cause: thrown,
      ...(details === undefined ? {} : { details }),
    });
  }
}

/** Why a text is no id of a block, undefined when it is one. */
export function blockIdProblem(id: string): string | undefined {
  if (RESERVED_BLOCK_IDS.includes(id)) return `"${id}" is a reserved word`;
  return isLabel(id, MAX_BLOCK_ID_CHARACTERS)
    ? undefined
    : `expected 1-${MAX_BLOCK_ID_CHARACTERS} characters of a-z, 0-9 and "-", the first and the last one no "-"`;
}

/** Whether a text can be (a part of) the name of a Kubernetes object. */
export function isLabel(text: string, maxCharacters: number): boolean {
  return text.length <= maxCharacters && LABEL.test(text);
}

/** How many instances a block has at least and at most, each undefined when its entry does not say. */
export interface InstanceBounds {
  readonly minInstances: number | undefined;
  readonly maxInstances: number | undefined;
}

/** The bounds that an entry sets; INVALID_ARGUMENT when they are none, or when the least is more than the most. */
export function instanceBounds(
  entry: Pick<BlockEntry, "minInstances" | "maxInstances">,
): InstanceBounds {
  const minInstances = bound("minInstances", entry.minInstances);
  const maxInstances = bound("maxInstances", entry.maxInstances);
  if (minInstances !== undefined && maxInstances !== undefined && minInstances > maxInstances) {
    throw invalid(
      `minInstances: expected at most maxInstances, which is ${maxInstances}, got ${minInstances}`,
    );
  }
  return { minInstances, maxInstances };
}

/** Instances that a block is made with: its least number; one where it names none, and where it may have one. */
export function firstInstances(entry: Pick<BlockEntry, "minInstances" | "maxInstances">): number {
  const { minInstances, maxInstances = 1 } = instanceBounds(entry);
  return minInstances ?? Math.min(1, maxInstances);
}

/**
 * GPUs of each instance as existing entries say them, to their policy alone: `policies.resourceAllocator.parameters.gpus`, a
 * whole number as such or as text. Undefined when they are not said. A policy may mean by them what it likes, so that what
 * is no such number is INVALID_ARGUMENT only where no policy is named.
 */
export function gpusOfAllocator({
  policies = {},
}: Pick<BlockEntry, "policies">): number | undefined {
  const found = Object.hasOwn(policies, "resourceAllocator")
    ? policies.resourceAllocator
    : undefined;
  if (typeof found !== "object") return undefined;
  const value = found.parameters?.gpus;
  const gpus = wholeNumber(value);
  if (gpus !== undefined && gpus <= MAX_GPUS) return gpus;
  if (value === undefined || value === null || (found.policyRuleURI ?? "") !== "") return undefined;
  throw invalid(
    `policies.resourceAllocator.parameters.gpus: expected a whole number of 0-${MAX_GPUS}, got ${got(value)}`,
  );
}

function bound(field: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const number = wholeNumber(value);
  if (number !== undefined) return number;
  throw invalid(`${field}: expected a whole number from 0, or null, got ${got(value)}`);
}

/** Bounds written as text become numbers, as queries compare them. */
function withNumbers(entry: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const bounds = (["minInstances", "maxInstances"] as const).flatMap((field) => {
    const number = typeof entry[field] === "string" ? wholeNumber(entry[field]) : undefined;
    return number === undefined ? [] : [[field, number] as const];
  });
  return { ...entry, ...Object.fromEntries(bounds) };
}

function wholeNumber(value: unknown): number | undefined {
  const number =
    typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : toNumber(value);
  return number !== undefined && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

function got(value: unknown): string {
  return typeof value === "string" || toNumber(value) !== undefined
    ? shown(value)
    : typeName(value);
}

function checkPlain(plain: unknown): void {
  const entry = parse(blockEntrySchema, plain);
  const idProblem = blockIdProblem(entry.id);
  if (idProblem !== undefined) throw invalid(`id: ${idProblem}, got ${shown(entry.id)}`);
  instanceBounds(entry);
  gpusOfAllocator(entry);
  const { env = {} } = entry.component?.containerRegistryInfo ?? {};
  const name = Object.keys(env).find((key) => !ENV_NAME.test(key));
  if (name !== undefined) {
    const expected = "expected names of letters, digits, _, - and ., the first no digit";
    throw invalid(`component.containerRegistryInfo.env: ${expected}, got ${shown(name)}`);
  }
  if (entry.resources?.gpuMemoryMiB !== undefined && !((entry.resources.gpus ?? 0) > 0)) {
    throw invalid("resources.gpuMemoryMiB: expected resources.gpus of at least 1 beside it");
  }
}

/** The place of a number that no policy could be given, or of a key that no update could reach, and what is wrong. */
function unfitPlace(value: unknown, path: readonly string[]): string | undefined {
  const number = toNumber(value);
  if (number !== undefined) {
    return Number.isFinite(number)
      ? undefined
      : `${path.join(".")}: a number is too large for a double`;
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, child] of Object.entries(value)) {
    if (key === "__proto__") {
      return `${path.join(".") || WHOLE}: the key "__proto__" is not allowed`;
    }
    const inner = unfitPlace(child, [...path, key]);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

function shown(value: unknown): string {
  return JSON.stringify(typeof value === "string" ? value.slice(0, 100) : value);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
