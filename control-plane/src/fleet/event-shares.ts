/** Bounds that {@link EventShares} counts against. */
export interface EventBounds {
  readonly kept: number;
  /** Characters of facts that are kept. */
  readonly keptCharacters: number;
  /** Events of one account that are kept. */
  readonly keptOfAccount: number;
  /** Characters of facts of one account that are kept. */
  readonly keptCharactersOfAccount: number;
}

interface Account {
  /** Characters of each event by its number, in the order in which they were added. */
  readonly events: Map<number, number>;
  characters: number;
}

/**
 * What each account holds of the events, so that one is held to its share without looking at those of the
 * others. An account is whoever events are counted to. Pure state.
 */
export class EventShares {
  readonly #bounds: EventBounds;
  readonly #accounts = new Map<string, Account>();
  #count = 0;
  #characters = 0;

  constructor(bounds: EventBounds) {
    this.#bounds = bounds;
  }

  /** Counts an event to an account; `seq` names it. */
  add(name: string, seq: number, characters: number): void {
    const account = this.#accounts.get(name) ?? { events: new Map(), characters: 0 };
    this.#accounts.set(name, account);
    account.events.set(seq, characters);
    account.characters += characters;
    this.#count += 1;
    this.#characters += characters;
  }

  /** Counts an event no more; nothing happens when it is not counted. */
  remove(name: string, seq: number): void {
    const account = this.#accounts.get(name);
    const characters = account?.events.get(seq);
    if (account === undefined || characters === undefined) return;
    account.events.delete(seq);
    account.characters -= characters;
    if (account.events.size === 0) this.#accounts.delete(name);
    this.#count -= 1;
    this.#characters -= characters;
  }

  /** Every account that holds something. */
  get names(): readonly string[] {
    return [...this.#accounts.keys()];
  }

  /** Whether all accounts together hold more than they may, once `without` has gone. */
  isOver(without = { count: 0, characters: 0 }): boolean {
    const { kept, keptCharacters } = this.#bounds;
    const characters = this.#characters - without.characters;
    return this.#count - without.count > kept || characters > keptCharacters;
  }

  /** An account's oldest events that are beyond its share, oldest first. */
  beyondShare(name: string): readonly number[] {
    const { keptOfAccount, keptCharactersOfAccount } = this.#bounds;
    const account = this.#accounts.get(name);
    const beyond: number[] = [];
    let count = account?.events.size ?? 0;
    let held = account?.characters ?? 0;
    for (const [seq, characters] of account?.events ?? []) {
      if (count <= keptOfAccount && held <= keptCharactersOfAccount) break;
      beyond.push(seq);
      count -= 1;
      held -= characters;
    }
    return beyond;
  }
}
