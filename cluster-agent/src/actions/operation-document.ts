import type { OperationDocument } from "@berth/proto";
import type { OperationRecord } from "./operation.ts";

/** An operation as clients read it. */
export function operationDocument(record: OperationRecord): OperationDocument {
  const { id, action, blockId, state, step, progress, attempts, error, result } = record;
  return {
    ...{ operation_id: id, action, block_id: blockId, state, step, progress, attempts },
    ...(record.idempotencyKey === undefined ? {} : { idempotency_key: record.idempotencyKey }),
    ...(error === undefined ? {} : { error }),
    ...(result === undefined ? {} : { result }),
    created_at: record.createdAt,
    updated_at: record.updatedAt,
  };
}
