import type { AgentReportRequest, Entry } from "@berth/proto";
import { BerthError, type Clock, systemClock } from "@berth/service-kit";
import { checkKey, MAX_KEYS } from "../../fleet/agent-entries.ts";
import { fencedMessages, type Intake } from "./stream-messages.ts";

/** Longest time that a first report may take, ms; a cluster of 10,000 nodes needs a few messages. */
const FIRST_REPORT_LIMIT_MS = 30_000;

/** Takes in one telemetry stream; gives why it ended. */
export async function takeReports(
  intake: Intake,
  requests: AsyncIterable<AgentReportRequest>,
): Promise<{ readonly reason: string }> {
  const first = new FirstReport(systemClock);
  for await (const { request, session } of fencedMessages(intake, "report", requests)) {
    const carried = first.take(request.entries);
    if (carried !== undefined) intake.agents.keepOnly(session, carried);
    intake.agents.report(session, request.entries);
  }
  return { reason: "the agent closed the stream" };
}

/**
 * Recognizes the end of a stream's first report, which carries every value once and may come in several
 * messages: a message without entries, or with a key that was there before, belongs to the next one.
 * Nodes of a large cluster must not vanish between two of its messages. What is remembered of it is
 * bounded: a first report holds at most {@link MAX_KEYS} keys, and has ended after 30 s.
 */
export class FirstReport {
  readonly #clock: Pick<Clock, "nowMs">;
  #carried: Set<string> | undefined = new Set();
  #begunAtMs: number | undefined;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /**
   * The keys of the whole first report, once, when the message is the first behind it. INVALID_ARGUMENT
   * names a bad key, or says that there are too many.
   */
  take(entries: readonly Entry[]): ReadonlySet<string> | undefined {
    const carried = this.#carried;
    if (carried === undefined) return undefined;
    const nowMs = this.#clock.nowMs();
    if (this.#begunAtMs !== undefined) {
      const isOverdue = nowMs - this.#begunAtMs >= FIRST_REPORT_LIMIT_MS;
      const isNext = entries.length === 0 || entries.some(({ key }) => carried.has(key));
      if (isOverdue || isNext) {
        this.#carried = undefined;
        return carried;
      }
    }
    this.#begunAtMs ??= nowMs;
    for (const [index, { key }] of entries.entries()) {
      checkKey(key, index);
      carried.add(key);
      if (carried.size <= MAX_KEYS) continue;
      const message = `entries.${index}.key: expected at most ${MAX_KEYS} different keys in the first report of a stream`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    return undefined;
  }
}
