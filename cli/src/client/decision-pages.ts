import type { ApiData } from "./http.ts";
import { printable } from "./table.ts";

/** Time between two words on how far a list has come, in ms. */
const PROGRESS_MS = 2_000;

/** How a list of decisions is followed. */
export interface DecisionPaging {
  /** Gives a page: its path with the query. Throws a CliError as `requestAnswer` does. */
  readonly ask: (path: string) => Promise<ApiData>;
  /** Calls back every 2 s with one line on how far the list has come. */
  readonly onProgress: (line: string) => void;
  /** No further page is asked for after so many ms. */
  readonly giveUpMs: number;
  /** A clock that never goes back, in ms. */
  readonly nowMs: () => number;
}

/** Decisions that were found, newest first. */
export interface FoundDecisions {
  readonly decisions: readonly unknown[];
  /** One line on how far the list came when it was given up; absent when it holds all that was asked for. */
  readonly gaveUp?: string;
}

/**
 * Decisions that the query (of `GET /decisions`, with `limit`) asks for: page after page until there are as many, or
 * no older ones. The server ends a page early when it is large, and when it had to look at many to find few.
 */
export async function requestDecisions(
  query: URLSearchParams,
  { ask, onProgress, giveUpMs, nowMs }: DecisionPaging,
): Promise<FoundDecisions> {
  const page = new URLSearchParams(query);
  const wanted = Number(query.get("limit"));
  const decisions: unknown[] = [];
  const beganMs = nowMs();
  let toldMs = beganMs;
  for (;;) {
    const { data, next } = await ask(`/decisions?${page}`);
    if (Array.isArray(data)) for (const decision of data) decisions.push(decision);
    const isLast = next === undefined || next === page.get("before");
    if (isLast || decisions.length >= wanted) return { decisions };
    const soFar = `${decisions.length} found back to ${timeOf(next)}`;
    const ms = nowMs();
    if (ms - beganMs >= giveUpMs) return { decisions, gaveUp: soFar };
    if (ms - toldMs >= PROGRESS_MS) {
      onProgress(soFar);
      toldMs = ms;
    }
    page.set("before", next);
    page.set("limit", String(wanted - decisions.length));
  }
}

const UUID_V7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** When the decision of an id was made: a UUIDv7 begins with its time in ms. */
function timeOf(id: string): string {
  const [, high, low] = UUID_V7.exec(id) ?? [];
  if (high === undefined || low === undefined) return printable(id);
  return new Date(Number.parseInt(`${high}${low}`, 16)).toISOString();
}
