import {
  cloneJson,
  parseClientJson,
  parseLossless,
  plainOf,
  typeName,
  validate,
} from "@berth/service-kit";
import { type Static, Type } from "typebox";
import { type BlockEntry, ENTRY_LIMITS, isLabel, parseBlockEntry } from "./block-entry.ts";

const blockPhase = Type.Union([
  Type.Literal("creating"),
  Type.Literal("running"),
  Type.Literal("removing"),
  Type.Literal("failed"),
]);

/** How far a block has come, as its operations tell. */
export type BlockPhase = Static<typeof blockPhase>;

const blockBody = Type.Object({
  json: Type.String(),
  phase: blockPhase,
  message: Type.Optional(Type.String()),
  operationId: Type.String(),
  createdAt: Type.String(),
  updatedAt: Type.String(),
});

/** A block as it is kept in memory. A change makes another record, so that one that was read stays as it is. */
export interface BlockRecord {
  readonly id: string;
  /** Its entry with numbers as doubles: what decisions and filters read. */
  readonly entry: BlockEntry;
  /** Its entry with numbers as the client wrote them, some as `RawNumber`s; the same object when none needs it. */
  readonly written: BlockEntry;
  /** Its entry as JSON text with numbers as the client wrote them: what documents and policies are made of. */
  readonly json: string;
  readonly phase: BlockPhase;
  /** Why it is in this phase, for people. */
  readonly message?: string;
  /** Operation that created it. */
  readonly operationId: string;
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

/** A block as it is stored. */
export type BlockBody = Omit<BlockRecord, "id" | "entry" | "written">;

/** Longest "<block>-<instance>": a label of Kubernetes. */
const MAX_LABEL_CHARACTERS = 63;
const size = Type.Integer({ minimum: 0 });

const instanceBody = Type.Object({
  blockId: Type.String(),
  instanceId: Type.String(),
  nodeId: Type.String(),
  /** Devices that it may use; `memoryMiB` is what was assigned of each. */
  devices: Type.Array(
    Type.Object({
      uuid: Type.String(),
      slot: size,
      memoryMiB: size,
      isShared: Type.Optional(Type.Literal(true)),
    }),
    { maxItems: 1_024 },
  ),
  allocationId: Type.String(),
  /** Operation that made it. */
  operationId: Type.String(),
  /** Store and term of the control-plane that ordered it; absent when this cluster's own API was asked. */
  fence: Type.Optional(Type.Object({ storeId: Type.String(), controllerTerm: Type.String() })),
  /** JSON text of what it is started with; absent when there is none. */
  initDataJson: Type.Optional(Type.String({ maxLength: ENTRY_LIMITS.characters })),
  /** ISO 8601, for people. */
  createdAt: Type.String(),
  /** Whether it shall run, or is on its way out. */
  state: Type.Union([Type.Literal("wanted"), Type.Literal("removing")]),
});

type StoredInstance = Static<typeof instanceBody>;

/** One instance of a block, as it was decided; what became of it the runtime tells. */
export type InstanceRecord = Readonly<Omit<StoredInstance, "devices">> & {
  readonly devices: readonly Readonly<StoredInstance["devices"][number]>[];
};

/** Collections of the store that a book is kept in. */
export type BookCollection = "blocks" | "instances";

/** What the store had when a book was opened. */
export interface BookContents {
  readonly blocks: readonly BlockRecord[];
  readonly instances: readonly InstanceRecord[];
  /** Documents that are not in our shape: "blocks/<id>", "instances/<block>/<instance>". */
  readonly unreadable: ReadonlySet<string>;
}

/** What came of a creation. */
export type CreateOutcome =
  /** It is written down; also when the same operation has done so before. */
  | { readonly kind: "created"; readonly record: BlockRecord }
  /** Another operation has created a block of this id. */
  | { readonly kind: "exists"; readonly record: BlockRecord };

/** What was made of a stored document. */
export type ReadOutcome<T> =
  | { readonly kind: "read"; readonly record: T }
  /** Not in our shape. The reason quotes an id or a name at most: it is for the log. */
  | { readonly kind: "unreadable"; readonly why: string };

/** The record of a block from its body and an entry that holds. */
export function blockRecord(given: BlockEntry, about: Omit<BlockBody, "json">): BlockRecord {
  const json = JSON.stringify(given);
  // Copies: what was checked is what is kept, whatever becomes of the object.
  const entry = plainOf(given) as BlockEntry;
  const written = JSON.stringify(entry) === json ? entry : cloneJson(given);
  return { ...about, id: entry.id, entry, written, json };
}

/** The body that a block is stored as. */
export function blockBodyOf({
  id: _id,
  entry: _entry,
  written: _written,
  ...body
}: BlockRecord): BlockBody {
  return body;
}

/** Reads a stored block. */
export function readBlock(id: string, body: unknown): ReadOutcome<BlockRecord> {
  const checked = validate(blockBody, body);
  if (checked.kind === "invalid") return { kind: "unreadable", why: checked.message };
  const { json, message, ...about } = checked.value;
  try {
    const entry = parseBlockEntry(parseLossless(json));
    if (entry.id !== id) return { kind: "unreadable", why: "json: its id is another one" };
    const told = message === undefined ? about : { ...about, message };
    return { kind: "read", record: blockRecord(entry, told) };
  } catch (thrown) {
    // The parser's message quotes the document.
    const why = thrown instanceof SyntaxError ? "json: no JSON" : messageOf(thrown);
    return { kind: "unreadable", why };
  }
}

/** What an instance is stored as, by "<block>/<instance>". */
export function instanceKey({
  blockId,
  instanceId,
}: Pick<InstanceRecord, "blockId" | "instanceId">): string {
  return `${blockId}/${instanceId}`;
}

/** What is wrong with the record of an instance, undefined when it holds. */
export function instanceProblem(record: unknown): string | undefined {
  const checked = validate(instanceBody, record);
  if (checked.kind === "invalid") return checked.message;
  const { blockId, instanceId, initDataJson = "{}" } = checked.value;
  if (!isJson(initDataJson)) return "initDataJson: expected JSON of a client's bounds";
  const most = MAX_LABEL_CHARACTERS - blockId.length - 1;
  if (isLabel(instanceId, most)) return undefined;
  return `instanceId: expected 1-${most} characters of a-z, 0-9 and "-", the first and the last one no "-"`;
}

/** Reads a stored instance. */
export function readInstance(id: string, body: unknown): ReadOutcome<InstanceRecord> {
  const why = instanceProblem(body);
  if (why !== undefined) return { kind: "unreadable", why };
  const record = body as InstanceRecord;
  if (instanceKey(record) === id) return { kind: "read", record };
  return { kind: "unreadable", why: "instanceId: its id is another one" };
}

function isJson(text: string): boolean {
  try {
    parseClientJson(text);
    return true;
  } catch {
    return false;
  }
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : typeName(thrown);
}

/** Whether two records hold the same; keys stand in one order in all that was read or checked here. */
export function isSame(one: object, other: object): boolean {
  const text = (record: object) =>
    JSON.stringify(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
  return text(one) === text(other);
}
