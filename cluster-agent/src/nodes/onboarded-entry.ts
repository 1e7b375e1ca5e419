import {
  BerthError,
  isJsonObject,
  jsonDepth,
  parse,
  parseLossless,
  plainOf,
  unfitForPolicies,
} from "@berth/service-kit";
import { Type } from "typebox";

/** Deepest nesting and largest JSON text (in characters) of a node's entry. */
export const ENTRY_LIMITS = { depth: 16, characters: 64 * 1024 } as const;

const amount = Type.Optional(Type.Number({ minimum: 0 }));

/** What is checked of an entry (seed "Cluster DB", `nodes.nodeData[]`); all else is kept as it came. */
const OnboardedEntry = Type.Object({
  id: Type.String({ pattern: "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$" }),
  gpus: Type.Optional(Type.Object({ count: amount, memory: amount })),
  vcpus: Type.Optional(Type.Object({ count: amount })),
  memory: amount,
  swap: amount,
  storage: Type.Optional(Type.Object({ disks: amount, size: amount })),
  tags: Type.Optional(Type.Array(Type.String({ maxLength: 253 }), { maxItems: 256 })),
  nodeMetadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});

/** A node as somebody tells of it before it joins. */
export interface Onboarded {
  readonly id: string;
  /** Its entry with numbers as they were written. */
  readonly entry: Readonly<Record<string, unknown>>;
}

/** Checks an entry, whose numbers may be `RawNumber`s. INVALID_ARGUMENT names the field and what was expected. */
export function checkOnboarded(entry: unknown): Onboarded {
  if (!isJsonObject(entry) || Object.keys(entry).length === 0) {
    throw invalid("Invalid node data: expected the node's entry, with its id");
  }
  if (jsonDepth(entry) > ENTRY_LIMITS.depth) {
    throw invalid(`the node's entry: expected at most ${ENTRY_LIMITS.depth} nested levels`);
  }
  if (JSON.stringify(entry).length > ENTRY_LIMITS.characters) {
    const message = `the node's entry: expected at most ${ENTRY_LIMITS.characters} characters`;
    throw new BerthError("PAYLOAD_TOO_LARGE", message);
  }
  const operator = Object.keys(entry).find((key) => key.startsWith("$"));
  if (operator !== undefined) {
    throw invalid(`${operator.slice(0, 100)}: expected the node's entry, not an update`);
  }
  const { id } = parse(OnboardedEntry, plainOf(entry));
  const unfit = unfitForPolicies(entry);
  if (unfit !== undefined) throw invalid(`the node's entry: ${unfit}`);
  return { id, entry };
}

/** What people say of a node. */
export interface DeclaredNode {
  readonly tags: readonly string[];
  readonly nodeMetadata: Readonly<Record<string, unknown>>;
}

/** What an entry says that no agent observes; of nodes that nobody told of nothing. */
export function declaredNode(entryJson: string | undefined): DeclaredNode {
  if (entryJson === undefined) return { tags: [], nodeMetadata: {} };
  const { tags = [], nodeMetadata = {} } = parseLossless(entryJson) as Partial<DeclaredNode>;
  return { tags, nodeMetadata };
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
