import { setTimeout as delay } from "node:timers/promises";
import { CliError, errorCodeOf, messageOf } from "../cli-error.ts";
import { at, listAt, textAt } from "../cluster-view.ts";
import { type FleetRow, rowsOf } from "./fleet-rows.ts";
import { type ApiServer, openStream, RefusedError } from "./http.ts";
import { readLines } from "./ndjson.ts";

/** What a watch tells; `truncated`: the server leaves rows out because there are too many. */
export type WatchNews =
  /** All rows: at the start, and again after the watch was lost. */
  | { readonly kind: "snapshot"; readonly rows: readonly FleetRow[]; readonly truncated: boolean }
  /** Rows that are new or differ, and ids of those that are gone. */
  | {
      readonly kind: "changes";
      readonly changed: readonly FleetRow[];
      readonly removed: readonly string[];
      readonly truncated: boolean;
    }
  /** The watch was lost, for the reason in `why`; it is tried again after `retryMs`. */
  | { readonly kind: "lost"; readonly why: string; readonly retryMs: number };

/** How {@link watchRows} waits; what is absent has a fitting default. */
export interface WatchTimes {
  /** Two periods without a byte are the end of a watch. The server speaks every 10 s. Default: 10 s. */
  readonly silencePeriodMs?: number;
  /** First pause before another try, doubled from try to try. Default: 500 ms. */
  readonly firstRetryMs?: number;
  /** Longest pause. Default: 15 s. */
  readonly maxRetryMs?: number;
}

const SILENCE_PERIOD_MS = 10_000;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;
/** Up to this share is taken off a pause, so that clients of a restarted server do not come as one. */
const JITTER = 0.3;

/**
 * Watches a resource of the control-plane until the signal is aborted, over lost connections and restarts
 * of the server. Throws a CliError when the first connection fails, and whenever the server refuses for a
 * reason that time does not change.
 */
export async function* watchRows(
  server: ApiServer,
  path: string,
  options: { readonly signal: AbortSignal; readonly times?: WatchTimes },
): AsyncGenerator<WatchNews, void, undefined> {
  const { signal } = options;
  const pauses = new Pauses(options.times);
  let hasWorked = false;
  while (!signal.aborted) {
    const openedMs = performance.now();
    let why = "the server ended it";
    try {
      for await (const news of connection(server, path, options)) {
        hasWorked = true;
        yield news;
      }
    } catch (thrown) {
      if (!signal.aborted && (!hasWorked || isFinal(thrown))) throw thrown;
      why = reasonOf(thrown);
    }
    if (signal.aborted) return;
    if (!hasWorked) throw new CliError(`${server.url} ended the watch before its first line`);
    const retryMs = pauses.next(performance.now() - openedMs);
    yield { kind: "lost", why, retryMs };
    await delay(retryMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Pauses between tries, longer from try to try. */
class Pauses {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor({ firstRetryMs = FIRST_RETRY_MS, maxRetryMs = MAX_RETRY_MS }: WatchTimes = {}) {
    this.#firstMs = firstRetryMs;
    this.#maxMs = maxRetryMs;
  }

  /** The pause after a connection that lived for `livedMs`: one that held is no failure in a row. */
  next(livedMs: number): number {
    this.#failures = livedMs > this.#maxMs ? 0 : this.#failures;
    const pause = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failures, 20));
    this.#failures++;
    return Math.round(pause * (1 - JITTER * Math.random()));
  }
}

/** Why a connection ended, in few words: the system's code, where there is one, or what `fetch` saw. */
function reasonOf(thrown: unknown): string {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    const code = errorCodeOf(error);
    if (code !== undefined) return code.startsWith("UND_") ? error.message : code;
  }
  return messageOf(thrown);
}

/** Refusals that another try meets again: a wrong filter, no such route. */
function isFinal(thrown: unknown): boolean {
  if (!(thrown instanceof RefusedError)) return false;
  const { status } = thrown;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

/** One connection's news, to its end. */
async function* connection(
  server: ApiServer,
  path: string,
  options: { readonly signal: AbortSignal; readonly times?: WatchTimes },
): AsyncGenerator<WatchNews, void, undefined> {
  const end = new AbortController();
  const signal = AbortSignal.any([options.signal, end.signal]);
  const periodMs = options.times?.silencePeriodMs ?? SILENCE_PERIOD_MS;
  const chunks = await openStream(server, path, signal);
  let silentPeriods = 0;
  const heard = async function* () {
    for await (const chunk of chunks) {
      silentPeriods = 0;
      yield chunk;
    }
  };
  // Counted in periods: while this process is stopped or its output is full, at most one of them passes.
  const timer = setInterval(() => {
    silentPeriods++;
    if (silentPeriods < 2) return;
    end.abort(new Error(`nothing was heard for ${(2 * periodMs) / 1000} s`));
  }, periodMs);
  try {
    for await (const line of readLines(heard())) {
      const news = readNews(line);
      if (news !== undefined) yield news;
    }
  } catch (thrown) {
    throw end.signal.aborted ? end.signal.reason : thrown;
  } finally {
    clearInterval(timer);
    end.abort();
  }
}

/** What a line tells; undefined for a heartbeat and for kinds of lines that a newer server may have. */
export function readNews(text: string): WatchNews | undefined {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch (cause) {
    throw new CliError("the server sent a line that is no JSON", { cause });
  }
  const type = textAt(line, "type");
  const truncated = at(line, "truncated") === true;
  if (type === "snapshot") return { kind: type, rows: rowsOf(at(line, "rows")), truncated };
  if (type !== "changes") return undefined;
  const removed = listAt(line, "removed").filter((id) => typeof id === "string");
  return { kind: type, changed: rowsOf(at(line, "changed")), removed, truncated };
}
