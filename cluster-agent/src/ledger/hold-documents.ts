import type {
  AllocationDocument,
  ClaimDocument,
  LeaseDocument,
  LedgerDocument,
} from "@berth/proto";
import type { AllocationHold, Claim } from "./claim.ts";
import type { LeaseView } from "./ledger-reader.ts";
import type { LedgerStatus } from "./ledger-status.ts";

/** Whether the ledger gives and takes, as documents tell it. */
export function ledgerDocument({ state, why, generation, revision }: LedgerStatus): LedgerDocument {
  const told = why === undefined ? {} : { why };
  return { state, ...told, generation, revision: String(revision) };
}

/** An allocation as documents tell it. `isOrphan`: its instance is in no record. */
export function allocationDocument(
  { id, claim, purpose, state, note, takenAt }: AllocationHold,
  isOrphan: boolean,
): AllocationDocument {
  const { blockId, instanceId, operationId } = purpose;
  return {
    ...{ allocation_id: id, block_id: blockId, instance_id: instanceId, operation_id: operationId },
    ...claimDocument(claim),
    ...{ state, orphan: isOrphan },
    ...(note === undefined ? {} : { note }),
    taken_at: takenAt,
  };
}

/** A lease as documents tell it. */
export function leaseDocument({ lease, ttlLeftMs, ageMs, void: why }: LeaseView): LeaseDocument {
  const { id, claim, subject, renewals } = lease;
  return {
    ...{ lease_id: id, subject },
    ...claimDocument(claim),
    ...{ ttl_left_ms: ttlLeftMs, renewals, age_ms: ageMs },
    ...(why === undefined ? {} : { void: why }),
  };
}

function claimDocument(claim: Claim): ClaimDocument {
  const { nodeId, devices, cpuMillis, memoryMiB, storageMiB } = claim;
  return {
    node_id: nodeId,
    gpus: devices.map(({ uuid, memoryMiB: shareMiB }) => {
      return shareMiB === undefined ? { uuid } : { uuid, memory: shareMiB };
    }),
    ...{ cpu_millis: cpuMillis, memory: memoryMiB, storage: storageMiB },
  };
}
