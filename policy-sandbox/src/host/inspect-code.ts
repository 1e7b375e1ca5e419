import { DEFAULT_LIMITS } from "../limits.ts";
import type { CheckOutcome, UnpackOutcome } from "../outcome.ts";
import { FrameError } from "../protocol/frames.ts";
import { raiseReply } from "./host-calls.ts";
import { type Job, type JobReply, mayRunElsewhere } from "./job.ts";
import { NotBegun, type PoolWorker } from "./pool-task.ts";
import { runMessage, runnerSections } from "./request-parts.ts";
import { parseCheckReply, parseUnpackReply } from "./runner-replies.ts";

const MIB = 1024 * 1024;

/** Largest archive that is looked at. */
export const MAX_ARCHIVE_BYTES = 16 * MIB;

const UNPACK_LIMITS = {
  logBytes: 0,
  unpackedBytes: 16 * MIB,
  unpackedFiles: 1_000,
  pathDepth: 16,
};
// The files travel as escaped JSON strings.
const UNPACK_REPLY_BYTES = 40 * MIB;
const CHECK_REPLY_BYTES = 8 * MIB;

const REASONS = [
  "too_large",
  "not_an_archive",
  "corrupt",
  "too_many_files",
  "unsafe_path",
  "unsafe_entry",
  "not_text",
  "missing_entry",
] as const;

/** Unpacks an archive on a worker, which is not used again: its bytes may be anybody's. */
export async function unpackOn(
  worker: PoolWorker,
  archive: Uint8Array,
): Promise<UnpackOutcome | NotBegun<UnpackOutcome>> {
  const header = { operation: "unpack", limits: UNPACK_LIMITS };
  const reply = await worker.run(toolJob(header, { archive }, UNPACK_REPLY_BYTES));
  worker.discard("it has unpacked an archive");
  if (isLate(reply)) {
    const message = "the archive takes too long to unpack";
    return { kind: "refused", reason: "too_large", message };
  }
  if (reply.kind === "ended") {
    if (mayRunElsewhere(reply)) return new NotBegun(unavailable(reply.message));
    const message = `the archive broke its reader: ${reply.message}`;
    return { kind: "refused", reason: "corrupt", message };
  }
  try {
    const parsed = parseUnpackReply(reply.sections);
    if ("files" in parsed) return { kind: "unpacked", files: parsed.files };
    const reason = REASONS.find((known) => known === parsed.reason) ?? "corrupt";
    return { kind: "refused", reason, message: parsed.message };
  } catch (error) {
    return unavailable(messageOf(error));
  }
}

/** Looks at code on a worker. */
export async function checkOn(
  worker: PoolWorker,
  files: Readonly<Record<string, string>>,
): Promise<CheckOutcome | NotBegun<CheckOutcome>> {
  const header = { operation: "check", limits: { logBytes: 0 } };
  const parts = { files: JSON.stringify(files) };
  const reply = await worker.run(toolJob(header, parts, CHECK_REPLY_BYTES));
  if (isLate(reply)) return unavailable("the code takes too long to read");
  if (reply.kind === "ended") {
    if (mayRunElsewhere(reply)) return new NotBegun(unavailable(reply.message));
    return unavailable(`the code broke its reader: ${reply.message}`);
  }
  try {
    const { problems, unresolvedImports } = parseCheckReply(reply.sections);
    if (problems.length === 0) return { kind: "ok", unresolvedImports };
    return { kind: "refused", problems, unresolvedImports };
  } catch (error) {
    worker.discard("it broke the protocol");
    return unavailable(messageOf(error));
  }
}

function unavailable(message: string): { kind: "unavailable"; message: string } {
  return { kind: "unavailable", message };
}

function isLate(reply: JobReply): boolean {
  if (reply.kind === "done") return reply.facts.fired !== "";
  return reply.cause === "wall" || reply.cause === "cpu";
}

function toolJob(
  header: object,
  parts: Readonly<Record<string, string | Uint8Array>>,
  replyBytes: number,
): Job {
  return {
    message: runMessage(DEFAULT_LIMITS),
    sections: runnerSections(header, parts),
    rssMiB: DEFAULT_LIMITS.rssMiB,
    hostCalls: 0,
    replyBytes,
    answer: async () => raiseReply("RuntimeError", "unknown host call"),
  };
}

function messageOf(error: unknown): string {
  return error instanceof FrameError ? error.message : "the reply cannot be read";
}
