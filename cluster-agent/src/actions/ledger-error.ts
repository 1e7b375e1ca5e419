import { BerthError, type Reason } from "@berth/service-kit";
import type { LedgerRefusal } from "../ledger/claim.ts";

const REASONS: Readonly<Record<LedgerRefusal["reason"], Reason>> = {
  closed: "UNAVAILABLE",
  unknown_node: "NOT_FOUND",
  node_refuses: "PRECONDITION_FAILED",
  unknown_device: "INVALID_ARGUMENT",
  device_refuses: "PRECONDITION_FAILED",
  taken: "CONFLICT",
  not_enough: "CONFLICT",
  over_cap: "QUOTA_EXCEEDED",
  unknown_lease: "NOT_FOUND",
  expired: "PRECONDITION_FAILED",
  fenced: "PRECONDITION_FAILED",
  exists: "ALREADY_EXISTS",
  invalid: "INVALID_ARGUMENT",
};

/** A refusal of the ledger as clients are told of it. */
export function ledgerError({ reason, message, deviceUuids }: LedgerRefusal): BerthError {
  const details = deviceUuids.length === 0 ? {} : { device_uuids: deviceUuids };
  return new BerthError(REASONS[reason], message, { details: { ledger: reason, ...details } });
}
