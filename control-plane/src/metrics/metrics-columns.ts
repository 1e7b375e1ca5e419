/** A value that is compared as it is. */
export type Scalar = string | number | boolean;

/** A condition on the values at a path that a document which matches must fulfil with one of them. */
export interface NeededValue {
  /** Dotted, without indices. */
  readonly path: string;
  readonly keys: readonly string[];
  readonly test: (value: Scalar) => boolean;
}

/** Most paths of one document whose values are remembered: 8 bytes a value, and dashboards ask for few. */
const MAX_COLUMNS = 8;

/**
 * The values at some paths of one document that never changes, gathered when a path is first asked for: the next
 * query for it goes along one list instead of through all nodes and GPUs.
 */
export class MetricsColumns {
  readonly #document: object;
  /** By path; undefined when it leads through lists in lists. */
  readonly #columns = new Map<string, readonly Scalar[] | undefined>();

  constructor(document: object) {
    this.#document = document;
  }

  /** False only when there are values and none of them is what is needed. */
  mayHold({ path, keys, test }: NeededValue): boolean {
    const column = this.#column(path, keys);
    // Nothing at all: what a filter makes of that is not to be guessed here.
    return column === undefined || column.length === 0 || column.some(test);
  }

  #column(path: string, keys: readonly string[]): readonly Scalar[] | undefined {
    if (this.#columns.has(path)) return this.#columns.get(path);
    const values: Scalar[] = [];
    const column = gather(this.#document, { keys, at: 0, values }) ? values : undefined;
    const [oldest] = this.#columns.keys();
    if (this.#columns.size >= MAX_COLUMNS && oldest !== undefined) this.#columns.delete(oldest);
    this.#columns.set(path, column);
    return column;
  }
}

interface Gathering {
  readonly keys: readonly string[];
  readonly at: number;
  readonly values: Scalar[];
}

/**
 * Gathers the scalars at the end of a path, lists on the way and at the end descended. What else is there passes no
 * comparison with a scalar. False for lists in lists.
 */
function gather(value: unknown, { keys, at, values }: Gathering): boolean {
  const here = { keys, at, values };
  if (Array.isArray(value)) {
    return value.every((item) => !Array.isArray(item) && gather(item, here));
  }
  const key = keys[at];
  if (typeof value !== "object") {
    if (key === undefined && value !== undefined) values.push(value as Scalar);
    return true;
  }
  if (value === null || key === undefined || !Object.hasOwn(value, key)) return true;
  const child = (value as Readonly<Record<string, unknown>>)[key];
  return gather(child, { keys, at: at + 1, values });
}
