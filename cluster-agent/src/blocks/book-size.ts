import { BerthError } from "@berth/service-kit";
import type { BlockRecord, InstanceRecord } from "./block-records.ts";

/** What a book holds, or may hold at most. */
export interface BookAmounts {
  readonly blocks: number;
  readonly instances: number;
  /** Characters of the entries' JSON and of the instances' init data. */
  readonly characters: number;
}

/** By default. What is held stays in memory, where it takes several times its characters. */
export const BOOK_LIMITS: BookAmounts = {
  blocks: 10_000,
  instances: 100_000,
  characters: 32 * 1024 * 1024,
};

/** Counts what a book holds. */
export class BookSize {
  readonly #limits: BookAmounts;
  readonly #used = { blocks: 0, instances: 0, characters: 0 };

  constructor(limits: BookAmounts) {
    this.#limits = limits;
  }

  /** Counts what is held already, whatever the limits are. */
  count(amounts: Partial<BookAmounts>): void {
    for (const name of NAMES) this.#used[name] += amounts[name] ?? 0;
  }

  /** Counts what comes before it is written, less than 0 for what goes; OVERLOADED when a limit is passed. */
  take(amounts: Partial<BookAmounts>): void {
    for (const name of NAMES) {
      const more = amounts[name] ?? 0;
      if (more <= 0 || this.#used[name] + more <= this.#limits[name]) continue;
      const what = name === "characters" ? "characters of entries and init data" : name;
      const message = `this cluster holds at most ${this.#limits[name]} ${what}; remove some before`;
      throw new BerthError("OVERLOADED", message);
    }
    this.count(amounts);
  }

  /** Takes back what was counted, as it was not written. */
  giveBack(amounts: Partial<BookAmounts>): void {
    for (const name of NAMES) this.#used[name] -= amounts[name] ?? 0;
  }
}

const NAMES = ["blocks", "instances", "characters"] as const;

/** What a block takes, without its instances. */
export function sizeOfBlock({ json }: BlockRecord): Partial<BookAmounts> {
  return { blocks: 1, characters: json.length };
}

/** What an instance takes. */
export function sizeOfInstance({ initDataJson = "" }: InstanceRecord): Partial<BookAmounts> {
  return { instances: 1, characters: initDataJson.length };
}

/** What an instance takes more than its former record, if there is one. */
export function growth(
  former: InstanceRecord | undefined,
  record: InstanceRecord,
): Partial<BookAmounts> {
  if (former === undefined) return sizeOfInstance(record);
  const { initDataJson = "" } = record;
  return { characters: initDataJson.length - (former.initDataJson ?? "").length };
}
