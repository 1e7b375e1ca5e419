import { type AgentReportRequest, AgentReportRequestSchema, EntrySchema } from "@berth/proto";
import { sleep } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { chunked } from "./chunks.ts";
import { TelemetryDelta, type TelemetryEntry } from "./telemetry-entries.ts";

/** What {@link reportMessages} sends from. */
export interface ReportStreamOptions {
  readonly sessionId: string;
  /** Time between two reports, ms. */
  readonly intervalMs: number;
  /** The telemetry as it is now. */
  readonly entries: () => readonly TelemetryEntry[];
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

/**
 * Messages of one telemetry stream: all values first, then at each interval those that changed. A report
 * without entries is sent too: it says that the agent is there.
 */
export async function* reportMessages(
  options: ReportStreamOptions,
): AsyncGenerator<AgentReportRequest> {
  const { sessionId, intervalMs, signal } = options;
  const delta = new TelemetryDelta();
  let streamSeq = 0n;
  while (!signal.aborted) {
    for (const chunk of chunked(delta.next(options.entries()))) {
      streamSeq += 1n;
      const entries = chunk.map((entry) => create(EntrySchema, entry));
      yield create(AgentReportRequestSchema, { sessionId, streamSeq, entries });
    }
    await sleep(intervalMs, signal);
  }
}
