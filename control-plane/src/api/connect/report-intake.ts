import type { AgentReportRequest, Entry } from "@berth/proto";
import { fencedMessages, type Intake } from "./stream-messages.ts";

/** Takes in one telemetry stream; gives why it ended. */
export async function takeReports(
  intake: Intake,
  requests: AsyncIterable<AgentReportRequest>,
): Promise<{ readonly reason: string }> {
  const first = new FirstReport();
  for await (const { request, session } of fencedMessages(intake, requests)) {
    const carried = first.take(request.entries);
    if (carried !== undefined) intake.agents.keepOnly(session, carried);
    intake.agents.report(session, request.entries);
  }
  return { reason: "the agent closed the stream" };
}

/**
 * Recognizes the end of a stream's first report, which carries every value once and may come in several
 * messages: a message without entries, or with a key that was there before, belongs to the next one.
 * Nodes of a large cluster must not vanish between two of its messages.
 */
export class FirstReport {
  #carried: Set<string> | undefined = new Set();
  #isBegun = false;

  /** The keys of the whole first report, once, when the message is the first behind it. */
  take(entries: readonly Entry[]): ReadonlySet<string> | undefined {
    const carried = this.#carried;
    if (carried === undefined) return undefined;
    const isNext = entries.length === 0 || entries.some(({ key }) => carried.has(key));
    if (this.#isBegun && isNext) {
      this.#carried = undefined;
      return carried;
    }
    this.#isBegun = true;
    for (const { key } of entries) carried.add(key);
    return undefined;
  }
}
