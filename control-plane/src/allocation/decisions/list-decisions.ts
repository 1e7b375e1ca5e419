import type { DecisionDocuments, StoredRecord } from "./decision-documents.ts";
import { type DecisionQuery, type DecisionRecord, isAskedFor } from "./decision-record.ts";
import { recordBytes } from "./record-bytes.ts";

/** Records that one query looks at, and their bytes. */
const MAX_LOOKED_AT = 5_000;
const MAX_LOOKED_AT_BYTES = 64 * 1024 * 1024;
/** Bytes of one page, roughly: a client gets the rest with the next one. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
/** Records between two turns of the event loop: few until it is known how large they are. */
const FIRST_READ = 20;
const MAX_READ = 200;
const READ_BYTES = 512 * 1024;

/** Decisions of one page, newest first. */
export interface DecisionPage {
  readonly decisions: readonly DecisionRecord[];
  /** Continues the list as `before`; absent at its end. */
  readonly next?: string;
}

/** Where decisions are: those that are not written yet, newest first, and the others. */
export interface DecisionSources {
  readonly waiting: readonly DecisionRecord[];
  readonly documents: DecisionDocuments;
}

/**
 * Decisions that are asked for, newest first. Ends early after 4 MiB of them, and when it has looked at 5,000
 * or at 64 MiB; `next` goes on from there.
 */
export async function listDecisions(
  orgId: string,
  query: DecisionQuery,
  sources: DecisionSources,
): Promise<DecisionPage> {
  const decisions: DecisionRecord[] = [];
  const whole = sources.documents.completing(orgId);
  let [lookedAt, lookedAtBytes, pageBytes] = [0, 0, 0];
  for await (const found of newestFirst(orgId, query, sources)) {
    lookedAt += 1;
    lookedAtBytes += found.bytes;
    if (isAskedFor(found.record, query)) {
      const decision = "pool" in found.record ? await whole(found.record) : found.record;
      decisions.push(decision);
      pageBytes += recordBytes(decision);
    }
    const isFull = decisions.length === query.limit || pageBytes >= MAX_PAGE_BYTES;
    if (isFull || lookedAt >= MAX_LOOKED_AT || lookedAtBytes >= MAX_LOOKED_AT_BYTES) {
      return { decisions, next: found.record.decision_id };
    }
  }
  return { decisions };
}

interface Found {
  readonly record: StoredRecord | DecisionRecord;
  readonly bytes: number;
}

/** What waits among what is stored, by id. One that is written meanwhile is in both, and given once. */
async function* newestFirst(
  orgId: string,
  query: DecisionQuery,
  { waiting, documents }: DecisionSources,
): AsyncGenerator<Found, void> {
  const ahead = [...waiting].reverse();
  for await (const stored of storedNewestFirst(orgId, query, documents)) {
    for (let next = ahead.at(-1); next !== undefined; next = ahead.at(-1)) {
      if (next.decision_id < stored.record.decision_id) break;
      ahead.pop();
      if (next.decision_id !== stored.record.decision_id) yield found(next);
    }
    yield stored;
  }
  for (const record of ahead.reverse()) yield found(record);
}

async function* storedNewestFirst(
  orgId: string,
  query: DecisionQuery,
  documents: DecisionDocuments,
): AsyncGenerator<Found, void> {
  let { before } = query;
  let limit = Math.min(query.limit, FIRST_READ);
  for (;;) {
    const position = before === undefined ? {} : { after: before };
    const page = await documents.page(orgId, { ...position, descending: true, limit });
    let bytes = 0;
    for (const record of page) {
      const one = found(record);
      bytes += one.bytes;
      yield one;
    }
    if (page.length < limit) return;
    before = page.at(-1)?.decision_id;
    limit = Math.min(Math.max(Math.floor((READ_BYTES * page.length) / bytes), 1), MAX_READ);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function found(record: StoredRecord | DecisionRecord): Found {
  return { record, bytes: recordBytes(record) };
}
