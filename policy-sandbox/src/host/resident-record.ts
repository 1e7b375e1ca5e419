import { FrameError } from "../protocol/frames.ts";
import type { ResidentDocument, ResidentPart } from "../request.ts";
import type { CheckedResidents, PartSizes, ResidentBounds } from "./resident-input.ts";

/** What a worker has to be told before an evaluation; the runner takes in all of it or nothing. */
export interface Intake {
  /** The runner's word that it has taken this in. */
  readonly revision: number;
  /** Forget every document and list first. */
  readonly reset: boolean;
  /** `[part, id]` of documents to forget. */
  readonly drop: readonly (readonly [string, string])[];
  /** Numbers of candidate lists to forget. */
  readonly forget: readonly number[];
  /** A candidate list to keep under its number. */
  readonly list: readonly [number, readonly string[]] | null;
  /** Texts to take in, in the order in which they are sent. */
  readonly take: readonly TakenText[];
}

/** One text of an intake. */
export interface TakenText {
  readonly id: string;
  readonly part: string;
  /** The part's text, or edits of the version that the worker holds. */
  readonly json: string;
  readonly edits: boolean;
  readonly strict: boolean;
}

/** How to give an evaluation its documents. */
export interface ResidentPlan {
  /** The number of the candidate list, known to the worker or in `intake`. */
  readonly list: number;
  /** Null when the worker holds everything already. */
  readonly intake: Intake | null;
}

interface Held {
  readonly version: string | number;
  readonly textBytes: number;
  readonly heapBytes: number;
  /** The plan that wanted it last. */
  wantedAt: number;
}

interface CandidateList {
  readonly number: number;
  readonly ids: readonly string[];
  usedAt: number;
}

type Taken = TakenText & { readonly held: Held };

interface Pending extends Intake {
  readonly take: readonly Taken[];
}

const MAX_LISTS = 8;
const MAX_SHARERS = 256;
/** A text lies in the frame, in the realm and in the interpreter while it is taken in. */
const COPIES_IN_TRANSIT = 3;

/**
 * What one worker process holds between evaluations, as far as the runner has confirmed it. `plan` says what
 * an evaluation needs, `settle` what has become of it.
 */
export class ResidentRecord {
  readonly #bounds: ResidentBounds;
  readonly #sizes: PartSizes;
  #held = new Map<string, Map<string, Held>>();
  #lists: CandidateList[] = [];
  #pending: Pending | null = null;
  #revision = 0;
  #epoch = 0;
  #plans = 0;
  #listNumber = 0;
  #textBytes = 0;
  #heapBytes = 0;
  #peakBytes = 0;
  readonly #sharers = new Set<string>();

  constructor(bounds: ResidentBounds, sizes: PartSizes) {
    this.#bounds = bounds;
    this.#sizes = sizes;
  }

  /** UTF-8 bytes of the texts that the worker holds. */
  get textBytes(): number {
    return this.#textBytes;
  }

  /**
   * Bytes that documents have made the worker use at most, so far and with the intake that is planned: its
   * caps are raised by as much. Never shrinks, because the memory of a process does not.
   */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Digests of the code that has worked on the documents themselves since they were taken in. */
  get sharers(): ReadonlySet<string> {
    return this.#sharers;
  }

  /** Notes that code is about to work on the documents themselves. */
  noteSharer(digest: string): void {
    if (this.#sharers.size >= MAX_SHARERS && !this.#sharers.has(digest)) {
      for (const oldest of this.#sharers) {
        this.#sharers.delete(oldest);
        break;
      }
    }
    this.#sharers.add(digest);
  }

  /** What the worker must be sent; another epoch than before voids all that it holds. */
  plan(wanted: CheckedResidents, epoch: number): ResidentPlan {
    this.#plans += 1;
    const reset = epoch !== this.#epoch;
    this.#epoch = epoch;
    if (reset) this.#forgetAll();
    const take = this.#missing(wanted);
    const known = this.#findList(wanted.documents);
    if (known !== null && take.length === 0 && !reset) return { list: known.number, intake: null };
    const list = known ?? this.#newList(wanted.documents);
    const intake: Pending = {
      revision: this.#revision + 1,
      reset,
      drop: this.#overflow(take),
      forget: known === null ? this.#oldLists() : [],
      list: known === null ? [list.number, list.ids] : null,
      take,
    };
    const sum = sumOf(take);
    const bytes = this.#heapBytes + sum.heapBytes + COPIES_IN_TRANSIT * sum.textBytes;
    this.#peakBytes = Math.max(this.#peakBytes, bytes);
    this.#pending = intake;
    return { list: list.number, intake };
  }

  /** Takes the runner's word for what it holds; throws `FrameError` for a revision that cannot be. */
  settle(revision: number): void {
    const pending = this.#pending;
    this.#pending = null;
    if (pending !== null && revision === pending.revision) {
      this.#revision = revision;
      this.#apply(pending);
    } else if (revision !== this.#revision) {
      throw new FrameError("the resident revision is out of turn");
    } else if (pending?.reset === true) {
      // Nothing was forgotten either: the next plan has to say it again.
      this.#epoch = Number.NaN;
    }
  }

  #apply(intake: Pending): void {
    for (const [part, id] of intake.drop) this.#remove(part, id);
    const { forget, list } = intake;
    this.#lists = this.#lists.filter(({ number }) => !forget.includes(number));
    if (list !== null) this.#lists.push({ number: list[0], ids: list[1], usedAt: this.#plans });
    for (const { part, id, held } of intake.take) {
      this.#remove(part, id);
      const documents = this.#held.get(part) ?? new Map<string, Held>();
      this.#held.set(part, documents.set(id, held));
      this.#textBytes += held.textBytes;
      this.#heapBytes += held.heapBytes;
    }
  }

  #remove(part: string, id: string): void {
    const documents = this.#held.get(part);
    const held = documents?.get(id);
    if (documents === undefined || held === undefined) return;
    documents.delete(id);
    if (documents.size === 0) this.#held.delete(part);
    this.#textBytes -= held.textBytes;
    this.#heapBytes -= held.heapBytes;
  }

  #forgetAll(): void {
    this.#held = new Map();
    this.#lists = [];
    this.#sharers.clear();
    this.#textBytes = 0;
    this.#heapBytes = 0;
  }

  #missing({ documents, parts }: CheckedResidents): Taken[] {
    const take: Taken[] = [];
    for (const name of parts) {
      const held = this.#held.get(name);
      for (const { id, parts: texts } of documents) {
        const part = texts[name];
        if (part === undefined) continue; // refused before (resident-input.ts)
        const have = held?.get(id);
        if (have !== undefined && have.version === part.version) {
          have.wantedAt = this.#plans;
          continue;
        }
        if (have !== undefined) have.wantedAt = this.#plans;
        take.push({ id, part: name, ...this.#changeOf(part, have) });
      }
    }
    return take;
  }

  /** Edits of what the worker holds where there are some, else the whole text. */
  #changeOf(part: ResidentPart, have: Held | undefined): Omit<Taken, "id" | "part"> {
    const { version } = part;
    const wantedAt = this.#plans;
    const edits = have === undefined ? undefined : part.editsFrom?.(have.version);
    if (have !== undefined && edits !== undefined) {
      return { json: edits, edits: true, strict: false, held: { ...have, version, wantedAt } };
    }
    const { textBytes, heapBytes, strict } = this.#sizes.of(part);
    const held = { version, textBytes, heapBytes, wantedAt };
    return { json: part.json, edits: false, strict, held };
  }

  /** What has to go so that everything fits, the least recently wanted first. */
  #overflow(take: readonly Taken[]): [string, string][] {
    let { textBytes, heapBytes } = sumOf(take);
    textBytes += this.#textBytes;
    heapBytes += this.#heapBytes;
    for (const { part, id } of take) {
      const replaced = this.#held.get(part)?.get(id);
      textBytes -= replaced?.textBytes ?? 0;
      heapBytes -= replaced?.heapBytes ?? 0;
    }
    if (textBytes <= this.#bounds.textBytes && heapBytes <= this.#bounds.heapBytes) return [];
    const drop: [string, string][] = [];
    for (const { part, id, held } of this.#unwanted()) {
      if (textBytes <= this.#bounds.textBytes && heapBytes <= this.#bounds.heapBytes) break;
      drop.push([part, id]);
      textBytes -= held.textBytes;
      heapBytes -= held.heapBytes;
    }
    return drop;
  }

  #unwanted(): { part: string; id: string; held: Held }[] {
    const all = [...this.#held].flatMap(([part, documents]) =>
      [...documents].map(([id, held]) => ({ part, id, held })),
    );
    return all
      .filter(({ held }) => held.wantedAt !== this.#plans)
      .sort((one, other) => one.held.wantedAt - other.held.wantedAt);
  }

  #findList(documents: readonly ResidentDocument[]): CandidateList | null {
    const found = this.#lists.find(({ ids }) => sameIds(ids, documents)) ?? null;
    if (found !== null) found.usedAt = this.#plans;
    return found;
  }

  #newList(documents: readonly ResidentDocument[]): CandidateList {
    this.#listNumber += 1;
    const ids = documents.map(({ id }) => id);
    return { number: this.#listNumber, ids, usedAt: this.#plans };
  }

  /** The lists that make room for one more. */
  #oldLists(): number[] {
    const byUse = [...this.#lists].sort((one, other) => other.usedAt - one.usedAt);
    return byUse.slice(MAX_LISTS - 1).map(({ number }) => number);
  }
}

function sameIds(ids: readonly string[], documents: readonly ResidentDocument[]): boolean {
  if (ids.length !== documents.length) return false;
  for (let at = 0; at < ids.length; at += 1) {
    if (ids[at] !== documents[at]?.id) return false;
  }
  return true;
}

function sumOf(take: readonly Taken[]): { textBytes: number; heapBytes: number } {
  let textBytes = 0;
  let heapBytes = 0;
  for (const { held } of take) {
    textBytes += held.textBytes;
    heapBytes += held.heapBytes;
  }
  return { textBytes, heapBytes };
}
