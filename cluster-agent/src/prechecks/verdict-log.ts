import { randomUUID } from "node:crypto";
import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  Serial,
  type Write,
} from "@berth/service-kit";
import type { Hook } from "./hooks.ts";
import type { PrecheckPolicy } from "./policy-map.ts";
import type { Verdict } from "./verdict.ts";

/** One verdict, as it is kept. JSON as stored. */
export interface VerdictRecord {
  readonly id: string;
  readonly hook: Hook;
  /** "block/echo". */
  readonly about: string;
  readonly policyRuleUri: string;
  readonly mode: PrecheckPolicy["mode"];
  readonly verdict: Verdict["kind"];
  /** Why it was denied, or what was wrong; absent when it was allowed. */
  readonly why?: string;
  /** The policy changed what is done. */
  readonly isChanged: boolean;
  /** ISO 8601, for people. */
  readonly at: string;
  /** How often the same came in a row. */
  readonly times: number;
  /** When it came last; ISO 8601, for people. */
  readonly lastAt: string;
}

/** A verdict that is to be written down. */
export interface NewVerdict {
  readonly hook: Hook;
  readonly about: string;
  readonly policy: PrecheckPolicy;
  readonly verdict: Verdict;
}

/** What {@link openVerdictLog} keeps verdicts with. */
export interface VerdictLogDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Verdicts that are remembered, the oldest are forgotten first; 5,000 by default. */
  readonly maxRemembered?: number;
}

/** Which verdicts are listed. */
export interface VerdictFilter {
  readonly limit: number;
  readonly hook?: Hook | undefined;
}

const COLLECTION = "precheck_verdicts";
const MAX_REMEMBERED = 5_000;
/** Subjects whose last refusal is known, so that one that comes again and again is one record. */
const MAX_REFUSED = 1_000;

/** Opens the log with the verdicts that the store knows. */
export async function openVerdictLog(deps: VerdictLogDeps): Promise<VerdictLog> {
  const log = new VerdictLog(deps);
  await log.load();
  return log;
}

/**
 * Every verdict of a pre-check policy, durable before the action goes on. A refusal that is the same as the one before of
 * its subject is counted there: who is refused, as a node-agent, asks again and again.
 */
export class VerdictLog {
  readonly #deps: VerdictLogDeps;
  readonly #serial = new Serial();
  /** Ids, oldest first. */
  #ids: string[] = [];
  /** The last refusal of each subject, oldest first. */
  readonly #refused = new Map<string, VerdictRecord>();
  /** The number of the newest, with which its id begins. */
  #count = 0;

  constructor(deps: VerdictLogDeps) {
    this.#deps = deps;
  }

  /** Reads what is there; called once. */
  async load(): Promise<void> {
    for await (const { id } of allPages(this.#deps.store, this.#collection())) this.#ids.push(id);
    this.#count = Number.parseInt(this.#ids.at(-1) ?? "0", 10);
  }

  /** Writes a verdict down, and gives its record. */
  note(given: NewVerdict): Promise<VerdictRecord> {
    return this.#serial.run(async () => {
      const record = this.#recordOf(given);
      const subject = `${given.hook} ${given.about}`;
      const before = this.#refused.get(subject);
      this.#refused.delete(subject);
      if (before !== undefined && isSame(before, record)) return this.#again(subject, before);
      await this.#insert(record);
      if (record.verdict !== "allowed") {
        this.#deps.logger.warn("a pre-check did not allow an action", { ...record });
        this.#remember(subject, record);
      }
      return record;
    });
  }

  /** The newest verdicts, the newest first. */
  async list({ limit, hook }: VerdictFilter): Promise<readonly VerdictRecord[]> {
    const found: VerdictRecord[] = [];
    const pages = allPages<VerdictRecord>(this.#deps.store, this.#collection(), {
      descending: true,
    });
    for await (const { body } of pages) {
      if (hook === undefined || body.hook === hook) found.push(body);
      if (found.length >= limit) break;
    }
    return found;
  }

  async #again(subject: string, before: VerdictRecord): Promise<VerdictRecord> {
    const lastAt = this.#deps.clock.timestamp();
    const record = { ...before, times: before.times + 1, lastAt };
    const key = { ...this.#collection(), id: before.id };
    await this.#apply([{ kind: "replace", key, body: record }]);
    this.#remember(subject, record);
    return record;
  }

  async #insert(record: VerdictRecord): Promise<void> {
    const { maxRemembered = MAX_REMEMBERED } = this.#deps;
    const key = (id: string) => ({ ...this.#collection(), id });
    const gone = this.#ids.slice(0, Math.max(0, this.#ids.length + 1 - maxRemembered));
    await this.#apply([
      { kind: "insert", key: key(record.id), body: record },
      ...gone.map((id) => ({ kind: "delete", key: key(id) }) as const),
    ]);
    this.#ids = [...this.#ids.slice(gone.length), record.id];
    for (const [subject, { id }] of this.#refused) {
      if (gone.includes(id)) this.#refused.delete(subject);
    }
  }

  #recordOf({ hook, about, policy, verdict }: NewVerdict): VerdictRecord {
    const at = this.#deps.clock.timestamp();
    this.#count += 1;
    // Counted on over restarts, so that the newest is the last of the collection whatever the clock does.
    const id = `${String(this.#count).padStart(12, "0")}-${randomUUID().slice(0, 8)}`;
    const why = whyOf(verdict);
    return {
      ...{ id, hook, about, policyRuleUri: policy.policyRuleUri, mode: policy.mode },
      verdict: verdict.kind,
      ...(why === undefined ? {} : { why }),
      isChanged: verdict.kind === "allowed" && verdict.changed !== undefined,
      ...{ at, times: 1, lastAt: at },
    };
  }

  #remember(subject: string, record: VerdictRecord): void {
    this.#refused.set(subject, record);
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > MAX_REFUSED && oldest !== undefined) this.#refused.delete(oldest);
  }

  async #apply(writes: readonly Write[]): Promise<void> {
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "applied") return;
    throw new BerthError("INTERNAL", `a verdict was not written: ${outcome.why}`);
  }

  #collection() {
    return { orgId: this.#deps.orgId, collection: COLLECTION };
  }
}

function whyOf(verdict: Verdict): string | undefined {
  if (verdict.kind === "allowed") return undefined;
  return verdict.kind === "denied" ? verdict.reason : verdict.message;
}

function isSame(before: VerdictRecord, now: VerdictRecord): boolean {
  const { policyRuleUri, mode, verdict, why } = now;
  return (
    before.policyRuleUri === policyRuleUri &&
    before.mode === mode &&
    before.verdict === verdict &&
    before.why === why
  );
}
