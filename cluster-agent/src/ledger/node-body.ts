import { validate } from "@berth/service-kit";
import { Type } from "typebox";
import type { Hold } from "./claim.ts";
import type { MigParents } from "./node-use.ts";

const text = Type.String();
const id = Type.String({ minLength: 1 });
const natural = Type.Integer({ minimum: 0 });

const claimSchema = Type.Object({
  nodeId: id,
  devices: Type.Array(
    Type.Object({ uuid: id, memoryMiB: Type.Optional(Type.Integer({ minimum: 1 })) }),
  ),
  cpuMillis: natural,
  memoryMiB: natural,
  storageMiB: natural,
});
const allocationSchema = Type.Object({
  kind: Type.Literal("allocation"),
  id,
  claim: claimSchema,
  purpose: Type.Object({ blockId: text, instanceId: text, operationId: text }),
  state: Type.Union([Type.Literal("committed"), Type.Literal("quarantined")]),
  note: Type.Optional(text),
  takenAt: text,
});
const leaseSchema = Type.Object({
  kind: Type.Literal("lease"),
  id,
  claim: claimSchema,
  subject: text,
  ttlMs: natural,
  renewals: natural,
  endsAtBootMs: Type.Number(),
  bootId: text,
  storeId: text,
  generation: natural,
  takenAt: text,
});
const bodySchema = Type.Object({
  holds: Type.Array(Type.Union([allocationSchema, leaseSchema])),
  migParents: Type.Optional(Type.Record(text, text)),
});

/** What a node's document says. */
export interface NodeBody {
  /** By id, in the order in which they were taken. */
  readonly holds: ReadonlyMap<string, Hold>;
  /** GPUs of the MIG devices that are held: a GPU stays held when MIG is turned off below a hold. */
  readonly parents: MigParents;
}

/** A node without holds. */
export const EMPTY_BODY: NodeBody = { holds: new Map(), parents: new Map() };

/** What is stored of a node. */
export function storedBody({ holds, parents }: NodeBody): unknown {
  const migParents = parents.size === 0 ? {} : { migParents: Object.fromEntries(parents) };
  return { holds: [...holds.values()], ...migParents };
}

/** Reads what is stored of a node; gives what is wrong when it is not ours. */
export function parseBody(
  nodeId: string,
  stored: unknown,
):
  | { readonly kind: "body"; readonly body: NodeBody }
  | { readonly kind: "damaged"; readonly why: string } {
  const checked = validate(bodySchema, stored);
  if (checked.kind === "invalid") return { kind: "damaged", why: checked.message };
  const holds = new Map<string, Hold>();
  for (const hold of checked.value.holds as readonly Hold[]) {
    if (hold.claim.nodeId !== nodeId) {
      return { kind: "damaged", why: `hold ${hold.id} is of node ${hold.claim.nodeId}` };
    }
    if (holds.has(hold.id)) return { kind: "damaged", why: `hold ${hold.id} is there twice` };
    holds.set(hold.id, hold);
  }
  return { kind: "body", body: { holds, parents: parentsOf(checked.value.migParents) } };
}

function parentsOf(stored: Readonly<Record<string, string>> | undefined): MigParents {
  return new Map(Object.entries(stored ?? {}));
}
