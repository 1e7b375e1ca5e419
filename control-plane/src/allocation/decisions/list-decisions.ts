import { setImmediate } from "node:timers/promises";
import type { DecisionDocuments, StoredRecord } from "./decision-documents.ts";
import { type DecisionQuery, type DecisionRecord, isAskedFor } from "./decision-record.ts";
import { recordBytes } from "./record-bytes.ts";

/** Records that one query looks at, and their bytes. */
const MAX_LOOKED_AT = 5_000;
const MAX_LOOKED_AT_BYTES = 64 * 1024 * 1024;
/** Bytes of one page: 1 MiB with the envelope around it. A client gets the rest with the next one. */
const MAX_PAGE_BYTES = 1024 * 1024 - 128;
/** Records that are read at once: few until it is known how large they are. */
const FIRST_READ = 10;
const MAX_READ = 200;
const READ_BYTES = 256 * 1024;
/** Others have their turn when a list has taken so long, in ms. */
const MAX_TURN_MS = 5;

/** Decisions of one page, newest first. */
export interface DecisionPage {
  /** JSON text of each {@link DecisionRecord}. */
  readonly decisions: readonly string[];
  /** Continues the list as `before`; absent at its end. */
  readonly next?: string;
}

/** Where decisions of an org are: those that are not written yet, newest first, and the others. */
export interface DecisionSources {
  readonly orgId: string;
  readonly waiting: readonly DecisionRecord[];
  readonly documents: DecisionDocuments;
}

/**
 * Decisions that are asked for, newest first. Ends early before they are more than 1 MiB (a single larger one
 * stands alone), and when it has looked at 5,000 or at 64 MiB; `next` goes on from there. Others have their turn every
 * few ms; throws the signal's reason at the next of those when it is aborted.
 */
export async function listDecisions(
  query: DecisionQuery,
  sources: DecisionSources,
  signal: AbortSignal,
): Promise<DecisionPage> {
  const decisions: string[] = [];
  const whole = sources.documents.completing(sources.orgId);
  let [lookedAt, lookedAtBytes, pageBytes, next] = [0, 0, 0, ""];
  let turnAtMs = performance.now();
  for await (const { record, bytes } of newestFirst(query, sources)) {
    if (performance.now() - turnAtMs >= MAX_TURN_MS) {
      await setImmediate();
      signal.throwIfAborted();
      turnAtMs = performance.now();
    }
    lookedAt += 1;
    lookedAtBytes += bytes;
    if (isAskedFor(record, query)) {
      const text = JSON.stringify("pool" in record ? await whole(record) : record);
      pageBytes += Buffer.byteLength(text) + 1;
      if (decisions.length > 0 && pageBytes > MAX_PAGE_BYTES) return { decisions, next };
      decisions.push(text);
    }
    next = record.decision_id;
    const isFull = decisions.length === query.limit;
    if (isFull || lookedAt >= MAX_LOOKED_AT || lookedAtBytes >= MAX_LOOKED_AT_BYTES) {
      return { decisions, next };
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
  query: DecisionQuery,
  sources: DecisionSources,
): AsyncGenerator<Found, void> {
  const ahead = [...sources.waiting].reverse();
  for await (const stored of storedNewestFirst(query, sources)) {
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
  query: DecisionQuery,
  { orgId, documents }: DecisionSources,
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
  }
}

function found(record: StoredRecord | DecisionRecord): Found {
  return { record, bytes: recordBytes(record) };
}
