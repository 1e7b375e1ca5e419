import { BerthError, type createHttpServer, parse } from "@berth/service-kit";
import { Type } from "typebox";
import { OPERATION_STATES } from "../actions/operation.ts";
import type { OperationBook } from "../actions/operation-book.ts";
import { operationDocument } from "../actions/operation-document.ts";
import type { OperationRunner } from "../actions/operation-runner.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What {@link addOperationRoutes} serves from. */
export interface OperationRoutesOptions {
  readonly book: Pick<OperationBook, "get" | "list">;
  readonly operations: Pick<OperationRunner, "retry" | "abandon">;
}

const ListParameters = Type.Object(
  {
    block_id: Type.Optional(Type.String()),
    state: Type.Optional(Type.String()),
    limit: Type.Optional(Type.String({ pattern: "^\\d{1,4}$" })),
  },
  { additionalProperties: false },
);
const DEFAULT_LIMIT = 100;

/**
 * Operations: `GET /operations` (the newest first; `block_id`, `state`, `limit`, 0 = all), `GET /operations/<id>`,
 * `POST /operations/<id>/retry` and `…/abandon` for one that is stuck.
 */
export function addOperationRoutes(
  server: HttpServer,
  { book, operations }: OperationRoutesOptions,
): void {
  server.get("/operations", async ({ query }) => {
    const { block_id: blockId, state, limit } = parse(ListParameters, query);
    checkState(state);
    const wanted = book
      .list()
      .filter((one) => blockId === undefined || one.blockId === blockId)
      .filter((one) => state === undefined || one.state === state);
    const most = limit === undefined ? DEFAULT_LIMIT : Number(limit);
    const shown = most === 0 ? wanted : wanted.slice(0, most);
    return { success: true, data: shown.map(operationDocument) };
  });
  server.get<{ Params: { id: string } }>("/operations/:id", async ({ params }) => {
    const record = book.get(params.id);
    if (record === undefined) {
      throw new BerthError("NOT_FOUND", `no operation ${JSON.stringify(params.id)}`);
    }
    return { success: true, data: operationDocument(record) };
  });
  for (const verb of ["retry", "abandon"] as const) {
    server.post<{ Params: { id: string } }>(`/operations/:id/${verb}`, async ({ params }) => ({
      success: true,
      data: operationDocument(await operations[verb](params.id)),
    }));
  }
}

function checkState(state: string | undefined): void {
  if (state === undefined || OPERATION_STATES.some((known) => known === state)) return;
  const names = OPERATION_STATES.join(", ");
  const message = `state: expected one of ${names}, got ${JSON.stringify(state.slice(0, 100))}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
