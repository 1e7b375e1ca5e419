import type { OrgDecision } from "./decision-documents.ts";
import type { DecisionRecord } from "./decision-record.ts";
import { recordBytes } from "./record-bytes.ts";

/** Records that wait for their commit; what comes on top is dropped and counted. */
const MAX_WAITING = 10_000;
/** Their bytes. */
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
/** Records in one transaction, which takes a few milliseconds. */
const MAX_PER_COMMIT = 100;
const MAX_COMMIT_BYTES = 1024 * 1024;

interface Waiting extends OrgDecision {
  readonly bytes: number;
}

/** Decisions that have not been written yet, in the order in which they came. */
export class WaitingDecisions {
  readonly #records = new Map<string, Waiting>();
  #bytes = 0;
  #dropped = 0;

  get size(): number {
    return this.#records.size;
  }

  /** Takes a record; false when too much waits already, and the record is dropped. */
  add(orgId: string, record: DecisionRecord): boolean {
    const bytes = recordBytes(record);
    if (this.size >= MAX_WAITING || this.#bytes + bytes > MAX_WAITING_BYTES) {
      this.#dropped += 1;
      return false;
    }
    this.#bytes += bytes;
    this.#records.set(record.decision_id, { orgId, record, bytes });
    return true;
  }

  /** One that waits. */
  get(id: string): OrgDecision | undefined {
    return this.#records.get(id);
  }

  /** The next ones to be written together. */
  group(): readonly OrgDecision[] {
    const group: Waiting[] = [];
    let bytes = 0;
    for (const waiting of this.#records.values()) {
      bytes += waiting.bytes;
      if (group.length > 0 && (bytes > MAX_COMMIT_BYTES || group.length >= MAX_PER_COMMIT)) break;
      group.push(waiting);
    }
    return group;
  }

  /** Forgets what has been written. */
  written(group: readonly OrgDecision[]): void {
    for (const { record } of group) {
      this.#bytes -= this.#records.get(record.decision_id)?.bytes ?? 0;
      this.#records.delete(record.decision_id);
    }
  }

  /** An org's, newest first, before the one of an id. */
  newestFirst(orgId: string, before: string | undefined): readonly DecisionRecord[] {
    const records: DecisionRecord[] = [];
    for (const waiting of this.#records.values()) {
      const { decision_id: id } = waiting.record;
      if (waiting.orgId === orgId && (before === undefined || id < before)) {
        records.push(waiting.record);
      }
    }
    return records.sort((a, b) => (a.decision_id < b.decision_id ? 1 : -1));
  }

  /** How many were dropped since the last time that this was asked. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
