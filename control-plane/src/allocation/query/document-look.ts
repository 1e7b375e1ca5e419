import { leavesAt, valuesAt, type Walk } from "./paths.ts";
import type { QuerySteps } from "./query-steps.ts";

/** A dotted path of a query. */
export interface FieldPath {
  readonly name: string;
  readonly keys: readonly string[];
}

/** One document that a query looks at: each path is walked once, however many conditions ask for it. */
export class DocumentLook {
  readonly steps: QuerySteps;
  readonly #document: unknown;
  readonly #values = new Map<string, readonly unknown[]>();
  readonly #leaves = new Map<string, readonly unknown[]>();

  constructor(document: unknown, steps: QuerySteps) {
    this.#document = document;
    this.steps = steps;
  }

  /** See {@link valuesAt}. */
  *valuesAt({ name, keys }: FieldPath): Walk {
    const known = this.#values.get(name);
    if (known !== undefined) return known;
    const found = yield* valuesAt(this.#document, keys, this.steps);
    if (typeof found !== "string") this.#values.set(name, found);
    return found;
  }

  /** See {@link leavesAt}. */
  *leavesAt({ name, keys }: FieldPath): Walk {
    const known = this.#leaves.get(name);
    if (known !== undefined) return known;
    const found = yield* leavesAt(this.#document, keys, this.steps);
    if (typeof found !== "string") this.#leaves.set(name, found);
    return found;
  }
}
