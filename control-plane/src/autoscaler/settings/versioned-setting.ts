import {
  BerthError,
  type Clock,
  isJsonObject,
  jsonDepth,
  parseLossless,
  toNumber,
} from "@berth/service-kit";
import type { KeptDocuments } from "../../org/store/kept-documents.ts";
import type { OrgTransactions } from "../../org/store/org-transactions.ts";

/** A JSON object of a client; numbers may be kept as they were written. */
export type SettingBody = Readonly<Record<string, unknown>>;

/** One version of a setting. JSON as stored. */
export interface SettingVersion {
  /** 1 at first, one more with each change. */
  readonly version: number;
  /** The whole of it as text, because a store keeps numbers as doubles. */
  readonly bodyJson: string;
  /** What was done, for people: "changed threshold", "rolled back to version 3". */
  readonly what: string;
  /** ISO 8601, for people. */
  readonly at: string;
}

/** A setting as it stands. */
export interface CurrentSetting<T> {
  /** 0 before it was ever written. */
  readonly version: number;
  readonly body: SettingBody;
  /** What the body means. */
  readonly value: T;
}

/** What a {@link VersionedSetting} is kept with. */
export interface VersionedSettingDeps<T> {
  /** Begins its ids in the collection, and its messages: "config". */
  readonly name: string;
  readonly documents: KeptDocuments<SettingVersion>;
  readonly transactions: OrgTransactions;
  readonly clock: Pick<Clock, "timestamp">;
  /** The body with a change made in it. */
  readonly merged: (before: SettingBody, change: SettingBody) => SettingBody;
  /** What a body means. INVALID_ARGUMENT names the field. */
  readonly read: (body: SettingBody) => T;
  /** Most bytes of it as JSON. */
  readonly maxBytes: number;
}

/** Versions of a setting that are kept; the oldest are forgotten first. */
export const MAX_VERSIONS = 100;
/** Levels of arrays and objects: a setting may become part of what policies are given. */
const MAX_DEPTH = 48;

/** A durable setting with its versions. A change is durable when it resolves, and counts from then on. */
export class VersionedSetting<T> {
  readonly #deps: VersionedSettingDeps<T>;
  #current: { readonly of: SettingVersion | undefined; readonly setting: CurrentSetting<T> };
  /** Versions that were looked through: the same list until one changes. */
  #seen: unknown;

  constructor(deps: VersionedSettingDeps<T>) {
    this.#deps = deps;
    const setting = { version: 0, body: {}, value: deps.read({}) };
    this.#current = { of: undefined, setting };
  }

  /** As the store has it. */
  get current(): CurrentSetting<T> {
    const all = this.#deps.documents.all();
    if (all === this.#seen) return this.#current.setting;
    const newest = this.#newest(all);
    if (newest !== undefined && newest !== this.#current.of) {
      this.#current = { of: newest, setting: this.#settingOf(newest) };
    }
    this.#seen = all;
    return this.#current.setting;
  }

  /** Versions that are kept, the newest first. */
  versions(): readonly SettingVersion[] {
    const { documents } = this.#deps;
    return documents
      .all()
      .flatMap(([id, { body }]) => (this.#isOwn(id) ? [body] : []))
      .toReversed();
  }

  /** What a version was, as text. NOT_FOUND when it is not kept. */
  bodyOf(version: number): SettingBody {
    return bodyOf(this.#kept(version));
  }

  /** Merges a change into it; nothing is written when that changes nothing. INVALID_ARGUMENT names the field. */
  merge(change: SettingBody): Promise<CurrentSetting<T>> {
    const names = Object.keys(change).slice(0, 10).join(", ").slice(0, 200);
    return this.#write(`changed ${names}`, (before) => this.#deps.merged(before, change));
  }

  /** Makes it what it was at a version, as a new one. NOT_FOUND when that is not kept. */
  rollBack(version: number): Promise<CurrentSetting<T>> {
    return this.#write(`rolled back to version ${version}`, () => this.bodyOf(version));
  }

  #write(what: string, change: (before: SettingBody) => SettingBody): Promise<CurrentSetting<T>> {
    const { documents, transactions, clock } = this.#deps;
    return transactions.run((plan) => {
      const before = this.#newest(documents.allPlanned());
      const body = change(before === undefined ? {} : bodyOf(before));
      const bodyJson = this.#checked(body);
      const value = this.#deps.read(body);
      if (bodyJson === (before?.bodyJson ?? "{}")) {
        return { version: before?.version ?? 0, body, value };
      }
      const version = (before?.version ?? 0) + 1;
      const at = clock.timestamp();
      documents.put(plan, this.#id(version), { version, bodyJson, what, at });
      documents.remove(plan, this.#id(version - MAX_VERSIONS));
      return { version, body, value };
    });
  }

  #checked(body: SettingBody): string {
    const { name, maxBytes } = this.#deps;
    const bodyJson = JSON.stringify(body);
    const bytes = Buffer.byteLength(bodyJson);
    if (bytes > maxBytes) {
      throw invalid(`${name}: expected at most ${maxBytes} bytes of JSON, got ${bytes}`);
    }
    if (jsonDepth(body) > MAX_DEPTH)
      throw invalid(`${name}: nested deeper than ${MAX_DEPTH} levels`);
    // Policies are given it, and no policy gets a number that no double holds.
    checkNumbers(body, name);
    return bodyJson;
  }

  #settingOf(newest: SettingVersion): CurrentSetting<T> {
    const body = bodyOf(newest);
    return { version: newest.version, body, value: this.#deps.read(body) };
  }

  #kept(version: number): SettingVersion {
    const kept = this.#deps.documents.get(this.#id(version));
    if (kept !== undefined) return kept.body;
    throw new BerthError("NOT_FOUND", `${this.#deps.name}: no version ${version} is kept`);
  }

  #newest(
    all: Iterable<readonly [string, { readonly body: SettingVersion }]>,
  ): SettingVersion | undefined {
    let newest: SettingVersion | undefined;
    for (const [id, { body }] of all) {
      if (this.#isOwn(id) && body.version > (newest?.version ?? 0)) newest = body;
    }
    return newest;
  }

  #isOwn(id: string): boolean {
    return id.startsWith(`${this.#deps.name}/`);
  }

  #id(version: number): string {
    return `${this.#deps.name}/${String(version).padStart(9, "0")}`;
  }
}

function bodyOf({ bodyJson }: SettingVersion): SettingBody {
  const body = parseLossless(bodyJson);
  return isJsonObject(body) ? body : {};
}

function checkNumbers(value: unknown, field: string): void {
  const number = toNumber(value);
  if (number !== undefined) {
    if (Number.isFinite(number)) return;
    throw invalid(`${field}: expected a number that a double can hold`);
  }
  if (typeof value !== "object" || value === null) return;
  for (const [key, item] of Object.entries(value))
    checkNumbers(item, `${field}.${key.slice(0, 60)}`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
