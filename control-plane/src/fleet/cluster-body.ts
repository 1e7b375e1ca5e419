import type { GpuState } from "@berth/proto";
import { BerthError } from "@berth/service-kit";
import { Type } from "typebox";

const GPU_STATES = [
  "free",
  "leased",
  "allocated",
  "cordoned",
  "unhealthy",
] as const satisfies GpuState[];

/** What decisions read of a GPU; all else, and whether any of it is there, is its owner's. */
const GpuBody = Type.Object({
  /** Its slot; the place in the list where there is none. */
  id: Type.Optional(Type.Union([Type.String({ minLength: 1 }), Type.Integer()])),
  uuid: Type.Optional(Type.String()),
  state: Type.Optional(Type.Enum(GPU_STATES)),
});

/**
 * What a cluster document must hold, from an agent or by REST. The existing registry demanded more; here
 * only what decisions need, and every other key is kept as it came.
 */
export const ClusterDocumentBody = Type.Object({
  id: Type.String({ pattern: "^[a-zA-Z0-9][a-zA-Z0-9._-]{0,252}$" }),
  regionId: Type.Optional(Type.String()),
  status: Type.Optional(Type.String()),
  nodes: Type.Optional(
    Type.Object({
      count: Type.Optional(Type.Number()),
      nodeData: Type.Optional(
        Type.Array(
          Type.Object({
            id: Type.String({ minLength: 1 }),
            gpus: Type.Optional(Type.Object({ gpus: Type.Optional(Type.Array(GpuBody)) })),
          }),
        ),
      ),
    }),
  ),
  tags: Type.Optional(Type.Array(Type.String())),
  config: Type.Optional(Type.Object({})),
  clusterMetadata: Type.Optional(Type.Object({})),
  reputation: Type.Optional(Type.Number()),
});

/** Refuses the nodes of a document when two have one id; INVALID_ARGUMENT names the second. */
export function checkNodeIds(nodeData: readonly { readonly id: string }[]): void {
  const seen = new Set<string>();
  for (const [index, { id }] of nodeData.entries()) {
    if (seen.has(id)) {
      const message = `nodes.nodeData.${index}.id: node ${id} is there twice`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    seen.add(id);
  }
}
