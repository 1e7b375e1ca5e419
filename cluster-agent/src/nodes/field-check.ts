/** A checked part of a report, and each field that was left out with why. */
export interface Checked<T> {
  readonly reading: T;
  /** A bad field is dropped so that the good ones still count. */
  readonly problems: readonly FieldProblem[];
}

/** A field that was left out. */
export interface FieldProblem {
  /** "host load1m", "gpu GPU-… powerW". */
  readonly field: string;
  /** For people: what was expected. */
  readonly why: string;
}

/** A number as the wire has it, and the range that it has to be in. */
export type Ranged = readonly [value: number | bigint | undefined, min: number, max: number];

/** Most memory that is believed, MiB. */
export const MAX_MIB = 2 ** 42;

const TOKEN = /^[!-~]{1,128}$/;

/** Whether a text can be an id: 1-128 printable characters without spaces. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Checks the fields of one subject, and notes those that do not hold. */
export class FieldCheck {
  readonly #subject: string;
  readonly problems: FieldProblem[] = [];

  /** `subject`: what the fields are of: "host", "gpu GPU-…". */
  constructor(subject: string) {
    this.#subject = subject;
  }

  /** Notes a field that is left out. */
  drop(field: string, why: string): void {
    this.problems.push({ field: `${this.#subject} ${field}`, why });
  }

  /** The number, undefined and noted when it is out of range. */
  number(
    field: string,
    given: number | bigint,
    [min, max]: readonly [min: number, max: number],
  ): number | undefined {
    const value = Number(given);
    if (value >= min && value <= max) return value;
    this.drop(field, `expected a number from ${min} to ${max}, got ${value}`);
    return undefined;
  }

  /** The fields that are present and in range; the others are absent in the result. */
  numbers<K extends string>(fields: Readonly<Record<K, Ranged>>): { [key in K]?: number } {
    const result: { [key in K]?: number } = {};
    for (const field of Object.keys(fields) as K[]) {
      const [given, min, max] = fields[field];
      if (given === undefined) continue;
      const value = this.number(field, given, [min, max]);
      if (value !== undefined) result[field] = value;
    }
    return result;
  }

  /** The first `limit` items; that there are more is noted. */
  atMost<T>(field: string, items: readonly T[], limit: number): readonly T[] {
    if (items.length <= limit) return items;
    this.drop(field, `expected at most ${limit} items`);
    return items.slice(0, limit);
  }
}
