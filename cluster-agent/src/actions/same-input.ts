import { isRawNumber, parseLossless } from "@berth/service-kit";
import type { PlannedInstance } from "./instance-crew.ts";
import type { OperationRecord } from "./operation.ts";

/** What a request is known again by. */
type Asked = Pick<OperationRecord, "action" | "blockId" | "inputJson" | "askedJson" | "plan">;

/** Whether a request asks for what an operation was accepted for, with the same leases. */
export function isSameRequest(known: Asked, request: Asked): boolean {
  // Of what a pre-check has changed only the input that was asked for is known, and not whose the leases were to be.
  const isAsAsked = known.askedJson === undefined;
  return (
    known.action === request.action &&
    known.blockId === request.blockId &&
    isSameInput(known.askedJson ?? known.inputJson, request.askedJson ?? request.inputJson) &&
    leasesOf(known, isAsAsked) === leasesOf(request, isAsAsked)
  );
}

function leasesOf({ plan }: Asked, withSubject: boolean): string {
  const instances = (plan.instances ?? []) as readonly PlannedInstance[];
  const leases = instances.flatMap(({ lease }) => lease ?? []);
  return JSON.stringify(
    leases.map(({ leaseId, subject }) => [leaseId, withSubject ? subject : undefined]),
  );
}

/** Whether two JSON texts say the same; the order of keys says nothing, numbers are compared as they were written. */
export function isSameInput(a: string, b: string): boolean {
  return a === b || canonical(a) === canonical(b);
}

function canonical(json: string): string {
  return JSON.stringify(parseLossless(json), (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null) return inner;
    if (Array.isArray(inner) || isRawNumber(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)));
  });
}
