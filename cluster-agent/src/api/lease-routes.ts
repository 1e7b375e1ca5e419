import { bodyObject, type createHttpServer, type Principal, parse } from "@berth/service-kit";
import { Type } from "typebox";
import { ledgerError } from "../actions/ledger-error.ts";
import type { Placer } from "../allocator/placer.ts";
import { leaseDocument } from "../ledger/hold-documents.ts";
import type { Leased } from "../ledger/lease-desk.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { leaseRequest } from "./lease-request.ts";
import type { CallerFence } from "./link-calls.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

const RenewBody = Type.Object(
  { ttl_ms: Type.Integer(), subject: Type.Optional(Type.String({ minLength: 1 })) },
  { additionalProperties: false },
);
const ReleaseParameters = Type.Object(
  { subject: Type.Optional(Type.String({ minLength: 1 })) },
  { additionalProperties: false },
);

interface IdParams {
  readonly id: string;
}

/** What {@link addLeaseRoutes} serves from. */
export interface LeaseRoutesOptions {
  readonly ledger: Ledger;
  readonly placer: Placer;
  /** Store and term in whose name a request is made; undefined for a client of the port. */
  readonly fenceOf: (principal: Principal) => CallerFence | undefined;
}

/**
 * Leases: `POST /leases` (see `leaseRequest`) holds a claim for `ttl_ms`, 201, or 200 when the `lease_id` holds the same
 * already; `POST /leases/<id>/renew` puts its end off to `ttl_ms` from now; `DELETE /leases/<id>` ends it (`subject` is
 * checked when given), also one that has ended. A lease belongs to the control-plane's store that it was ordered by, or to
 * the clients of this port.
 */
export function addLeaseRoutes(
  server: HttpServer,
  { ledger, placer, fenceOf }: LeaseRoutesOptions,
): void {
  const held = (leaseId: string | undefined) => {
    const hold = leaseId === undefined ? undefined : ledger.hold(leaseId);
    const counts = hold?.kind === "lease" && ledger.viewOf(hold).void === undefined;
    return counts ? hold.claim : undefined;
  };
  server.post("/leases", async (request, reply) => {
    const asked = leaseRequest(bodyObject(request), { placer, held });
    const storeId = fenceOf(request.principal)?.storeId ?? "";
    const isKnown = held(asked.leaseId) !== undefined;
    const leased = await ledger.lease({ ...asked, storeId });
    if (leased.kind === "refused") throw ledgerError(leased);
    reply.status(isKnown ? 200 : 201);
    return { success: true, data: documentOf(leased, ledger) };
  });
  server.post<{ Params: IdParams }>("/leases/:id/renew", async (request) => {
    const { ttl_ms: ttlMs, subject } = parse(RenewBody, bodyObject(request));
    const storeId = fenceOf(request.principal)?.storeId;
    const renewed = await ledger.renew({ leaseId: request.params.id, ttlMs, subject, storeId });
    if (renewed.kind === "refused") throw ledgerError(renewed);
    return { success: true, data: documentOf(renewed, ledger) };
  });
  server.delete<{ Params: IdParams }>("/leases/:id", async ({ params, query }) => {
    const { subject } = parse(ReleaseParameters, query);
    const isHeld = ledger.hold(params.id)?.kind === "lease";
    const released = await ledger.release({ leaseId: params.id, subject });
    if (released.kind === "refused") throw ledgerError(released);
    return { success: true, data: { lease_id: params.id, released: isHeld } };
  });
}

function documentOf({ lease }: Leased, ledger: Ledger): object {
  return leaseDocument(ledger.viewOf(lease));
}
