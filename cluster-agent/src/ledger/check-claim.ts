import type { Claim, LedgerRefusal } from "./claim.ts";
import { CLAIM_AMOUNTS, claimProblem, refused } from "./claim-shape.ts";
import { deviceRefusal } from "./device-check.ts";
import { type NodeUse, type NodeUseOptions, nodeUse } from "./node-use.ts";

/** Refusals of devices that one message tells at most. */
const TOLD = 3;

/**
 * Whether a claim can be met beside the holds of its node. A node that holds more than it has gives nothing
 * until it fits again. Of several devices in the way the refusal names all by UUID; its reason is the first one's.
 */
export function checkClaim(
  claim: Claim,
  node: NodeUseOptions,
): { readonly kind: "ok" } | LedgerRefusal {
  const problem = claimProblem(claim);
  if (problem !== undefined) return refused("invalid", problem);
  const { nodeId, refusal } = node.capacity;
  if (claim.nodeId !== nodeId) {
    return refused("invalid", `nodeId: expected ${nodeId}, got ${claim.nodeId}`);
  }
  if (refusal !== undefined) {
    return refused("node_refuses", `nothing may be taken of node ${nodeId}: ${refusal}`);
  }
  const use = nodeUse(node);
  return devicesRefusal(use, claim) ?? amountsRefusal(use, claim) ?? { kind: "ok" };
}

function devicesRefusal(use: NodeUse, { devices }: Claim): LedgerRefusal | undefined {
  const refusals = devices.flatMap((device) => deviceRefusal(use, device) ?? []);
  const [first] = refusals;
  if (first === undefined) return undefined;
  const more = refusals.length > TOLD ? `; and ${refusals.length - TOLD} devices more` : "";
  const messages = refusals.slice(0, TOLD).map(({ message }) => message);
  const uuids = refusals.flatMap(({ deviceUuids }) => deviceUuids);
  return refused(first.reason, `${messages.join("; ")}${more}`, uuids);
}

function amountsRefusal({ capacity, taken }: NodeUse, claim: Claim): LedgerRefusal | undefined {
  for (const { field, unit } of CLAIM_AMOUNTS) {
    const [total, held, asked] = [capacity[field], taken[field], claim[field]];
    if (held + asked <= total) continue;
    const free = `${Math.max(0, total - held)} of ${total} ${unit} free`;
    const over = held > total ? ` (${held} are taken)` : "";
    const message = `node ${capacity.nodeId} has ${free}${over}, ${asked} were asked for`;
    return refused("not_enough", message);
  }
  return undefined;
}
