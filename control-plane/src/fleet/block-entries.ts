import type {
  AllocationDocument,
  BlockDocument,
  LeaseDocument,
  LedgerDocument,
  OperationDocument,
} from "@berth/proto";
import { validate } from "@berth/service-kit";
import { type TSchema, Type } from "typebox";

/** Key of the entry that says whether the cluster's ledger gives and takes. */
export const LEDGER_KEY = "ledger";
/** Prefixes of the keys that tell of blocks, operations, and what is held of a node. */
export const BLOCK_KEY_PREFIXES = {
  block: "block/",
  operation: "operation/",
  holds: "holds/",
} as const;

/** Most keys of one cluster, by kind, as its agent has them too. */
export const MAX_BLOCK_KEYS = {
  ledger: 1,
  block: 10_000,
  operation: 12_000,
  holds: 10_000,
} as const;

/** What is held of one node. */
export interface HoldsDocument {
  readonly allocations: readonly AllocationDocument[];
  readonly leases: readonly LeaseDocument[];
}

/** A value of the keys above, checked. */
export type BlockValue =
  | { readonly kind: "ledger"; readonly document: LedgerDocument }
  | { readonly kind: "block"; readonly document: BlockDocument }
  | { readonly kind: "operation"; readonly document: OperationDocument }
  | { readonly kind: "holds"; readonly document: HoldsDocument };

const text = Type.String();
const count = Type.Integer({ minimum: 0 });
const gpus = Type.Array(
  Type.Object({ uuid: text, memory: Type.Optional(Type.Number({ minimum: 0 })) }),
);
const claim = { node_id: text, gpus, cpu_millis: count, memory: count, storage: count };

const ledger = Type.Object({
  state: Type.Union([Type.Literal("open"), Type.Literal("closed")]),
  why: Type.Optional(text),
  generation: count,
  revision: Type.String({ pattern: "^\\d{1,20}$" }),
});
const block = Type.Object({
  block_id: text,
  phase: text,
  component_uri: text,
  min_instances: Type.Optional(count),
  max_instances: Type.Optional(count),
  instances: Type.Array(
    Type.Object({
      instance_id: text,
      node_id: text,
      gpus,
      phase: text,
      ready: Type.Boolean(),
      restarts: count,
      message: Type.Optional(text),
      endpoint: Type.Optional(text),
      allocation_id: text,
    }),
  ),
  created_at: text,
  updated_at: text,
});
const operation = Type.Object({
  operation_id: text,
  action: text,
  block_id: text,
  state: Type.Union(
    (["running", "undoing", "done", "failed", "stuck", "abandoned"] as const).map((state) =>
      Type.Literal(state),
    ),
  ),
  step: text,
  progress: Type.Object({ done: Type.Number(), total: Type.Number() }),
  attempts: count,
  idempotency_key: Type.Optional(text),
  error: Type.Optional(
    Type.Object({
      reason: text,
      message: text,
      details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    }),
  ),
  result: Type.Optional(Type.Unknown()),
  created_at: text,
  updated_at: text,
});
const holds = Type.Object({
  allocations: Type.Array(
    Type.Object({
      ...{ allocation_id: text, block_id: text, instance_id: text, operation_id: text },
      ...claim,
      state: Type.Union([Type.Literal("committed"), Type.Literal("quarantined")]),
      orphan: Type.Boolean(),
      note: Type.Optional(text),
      taken_at: text,
    }),
  ),
  leases: Type.Array(
    Type.Object({
      ...{ lease_id: text, subject: text },
      ...claim,
      ...{ ttl_left_ms: Type.Number({ minimum: 0 }), renewals: count, age_ms: Type.Number() },
      void: Type.Optional(text),
    }),
  ),
});

const SCHEMAS: Readonly<Record<BlockValue["kind"], TSchema>> = { ledger, block, operation, holds };

/** The kind of a key, and the id in it; undefined for a key that tells of something else. */
export function blockKey(
  key: string,
): { readonly kind: BlockValue["kind"]; readonly id: string } | undefined {
  if (key === LEDGER_KEY) return { kind: "ledger", id: "" };
  for (const [kind, prefix] of Object.entries(BLOCK_KEY_PREFIXES)) {
    if (key.length > prefix.length && key.startsWith(prefix)) {
      return { kind: kind as keyof typeof BLOCK_KEY_PREFIXES, id: key.slice(prefix.length) };
    }
  }
  return undefined;
}

/** Checks the value of a key of blocks: the value, or why it is none. */
export function readBlockValue(
  { kind, id }: NonNullable<ReturnType<typeof blockKey>>,
  value: Record<string, unknown>,
): BlockValue | { readonly kind: "bad"; readonly why: string } {
  const checked = validate(SCHEMAS[kind], value);
  if (checked.kind === "invalid") return { kind: "bad", why: checked.message };
  const known = { kind, document: value } as unknown as BlockValue;
  const problem = identityProblem(known, id);
  return problem === undefined ? known : { kind: "bad", why: problem };
}

/** The id in a document is that of its key: others are found by it. */
function identityProblem(value: BlockValue, id: string): string | undefined {
  const expected = (field: string) => `${field}: expected ${JSON.stringify(id)}`;
  if (value.kind === "block" && value.document.block_id !== id) return expected("block_id");
  if (value.kind === "operation" && value.document.operation_id !== id) {
    return expected("operation_id");
  }
  if (value.kind !== "holds") return undefined;
  const { allocations, leases } = value.document;
  const isOfNode = ({ node_id: nodeId }: { readonly node_id: string }) => nodeId === id;
  return allocations.every(isOfNode) && leases.every(isOfNode) ? undefined : expected("node_id");
}
