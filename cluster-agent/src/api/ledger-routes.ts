import { type createHttpServer, parse } from "@berth/service-kit";
import { Type } from "typebox";
import type { AllocationHold } from "../ledger/claim.ts";
import { allocationDocument, leaseDocument, ledgerDocument } from "../ledger/hold-documents.ts";
import type { Ledger } from "../ledger/ledger.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

const ListParameters = Type.Object(
  {
    block_id: Type.Optional(Type.String()),
    node_id: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);

/**
 * The ledger as it stands on disk: `GET /ledger` (its state), `GET /allocations` (`block_id`, `node_id`) and
 * `GET /leases`. An allocation is an orphan when its instance is in no record, and no operation will write one down.
 */
export function addLedgerRoutes(
  server: HttpServer,
  {
    ledger,
    isOrphan,
  }: {
    readonly ledger: Ledger;
    /** Whether nobody knows what an allocation is for. */
    readonly isOrphan: (hold: AllocationHold) => boolean;
  },
): void {
  server.get("/ledger", async () => ({
    success: true,
    data: { ...ledgerDocument(ledger.status), holds: ledger.size },
  }));
  server.get("/allocations", async ({ query }) => {
    const { block_id: blockId, node_id: nodeId } = parse(ListParameters, query);
    const holds = ledger.holds({
      kind: "allocation",
      ...(blockId === undefined ? {} : { blockId }),
      ...(nodeId === undefined ? {} : { nodeId }),
    });
    const all = holds.filter((hold) => hold.kind === "allocation");
    return { success: true, data: all.map((hold) => allocationDocument(hold, isOrphan(hold))) };
  });
  server.get("/leases", async () => ({
    success: true,
    data: ledger.leases().map(leaseDocument),
  }));
}
