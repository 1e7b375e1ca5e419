import type { OperationDocument } from "@berth/proto";
import { isOver, type OperationRecord } from "../actions/operation.ts";
import type { OperationBook } from "../actions/operation-book.ts";
import { operationDocument } from "../actions/operation-document.ts";
import type { ToldBoard } from "./told-board.ts";

/** Operations that are over and told: the newest. */
const MAX_OVER = 200;
/** Longest text of one; beyond it is told without its result and the details of its failure. */
const MAX_CHARACTERS = 16 * 1024;
const MAX_MESSAGE_CHARACTERS = 2_000;

/** What {@link ToldOperations} looks at. */
export interface ToldOperationsDeps {
  readonly board: ToldBoard;
  readonly book: Pick<OperationBook, "get" | "list" | "onChange">;
}

/** Tells the operations that are not over, and the newest of those that are. */
export class ToldOperations {
  readonly #deps: ToldOperationsDeps;
  /** Those that have changed since they were told. */
  readonly #dirty: Set<string>;
  /** Those that are over and told, in the order in which they ended. */
  readonly #over = new Set<string>();

  constructor(deps: ToldOperationsDeps, onDirty: () => void) {
    this.#deps = deps;
    const byEnd = deps.book.list().toSorted((a, b) => (a.updatedAt < b.updatedAt ? -1 : 1));
    this.#dirty = new Set(byEnd.map(({ id }) => id));
    deps.book.onChange((id) => {
      this.#dirty.add(id);
      onDirty();
    });
  }

  /** Puts on the board what has changed. */
  tell(): void {
    const { board, book } = this.#deps;
    for (const id of this.#dirty) {
      const record = book.get(id);
      this.#over.delete(id);
      if (record === undefined) board.delete(`operation/${id}`);
      else {
        if (isOver(record)) this.#over.add(id);
        board.set(`operation/${id}`, toldText(record));
      }
    }
    this.#dirty.clear();
    for (const id of this.#over) {
      if (this.#over.size <= MAX_OVER) break;
      this.#over.delete(id);
      board.delete(`operation/${id}`);
    }
  }
}

function toldText(record: OperationRecord): string {
  const document = operationDocument(record);
  const text = JSON.stringify(document);
  return text.length <= MAX_CHARACTERS ? text : JSON.stringify(shortened(document));
}

function shortened({ result: _result, error, ...rest }: OperationDocument): OperationDocument {
  if (error === undefined) return rest;
  const { reason, message } = error;
  return { ...rest, error: { reason, message: message.slice(0, MAX_MESSAGE_CHARACTERS) } };
}
