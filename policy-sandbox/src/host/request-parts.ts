import { HARD_KILL_AFTER_MS, type Limits } from "../limits.ts";
import type { InputMode } from "./input-trust.ts";
import type { Job } from "./job.ts";
import { type CheckedContext, describeClients, type PreparedRequest } from "./prepare-request.ts";
import type { CheckedResidents } from "./resident-input.ts";
import type { Intake, ResidentPlan } from "./resident-record.ts";

/** How an evaluation gets its resident documents. */
export interface ResidentUse {
  readonly wanted: CheckedResidents;
  readonly plan: ResidentPlan;
  readonly mode: InputMode;
}

/** What the worker knows already, and what its residents add to the caps. */
export interface WorkerSide {
  /** The worker has the policy instance. */
  readonly loaded: boolean;
  /** Null for a request without residents. */
  readonly residents: ResidentUse | null;
  /** See `ResidentRecord.peakBytes`. */
  readonly residentBytes: number;
  readonly context: CheckedContext;
}

const MIB = 1024 * 1024;
const FRAME_SLACK_BYTES = 256 * 1024;
// The log travels as an escaped JSON string: at most six bytes for one.
const ESCAPE_FACTOR = 6;
// Longer texts are carried as bytes; below, that costs more than it saves.
const SHORT_CHARS = 4 * 1024;

/** The job for a worker. */
export function evaluationJob(
  prepared: PreparedRequest,
  side: WorkerSide,
): Pick<Job, "message" | "sections"> {
  const { request } = prepared;
  const { limits } = request;
  const { resultDepth, outputBytes, contextBytes, logBytes } = limits;
  const call = request.call ?? { kind: "eval" };
  const header = {
    operation: "evaluate",
    instance: prepared.instance,
    call: call.kind === "management" ? { kind: call.kind, action: call.action } : call,
    strictNumbers: side.context.strict
      ? [...prepared.strictNumbers, "context"]
      : prepared.strictNumbers,
    limits: {
      resultDepth,
      outputBytes,
      contextBytes,
      logBytes,
      sharedBytes: (limits.memoryMiB * MIB) / 2 + side.residentBytes,
    },
    ...(side.loaded
      ? {}
      : {
          clients: describeClients(request.clients),
          environment: request.environment ?? {},
        }),
    ...residentHeader(side.residents),
  };
  const texts: Record<string, string> = {
    input: call.kind === "management" ? call.dataJson : request.inputJson,
    context: side.context.json,
  };
  if (!side.loaded) {
    texts.files = JSON.stringify(request.code.files);
    texts.settings = request.settingsJson;
    texts.parameters = request.parametersJson;
  }
  const parts: Record<string, string | Uint8Array> = texts;
  const intake = side.residents?.plan.intake ?? null;
  if (intake !== null) Object.assign(parts, intakeParts(intake));
  return {
    message: runMessage(limits, side.residentBytes),
    sections: runnerSections(header, parts),
  };
}

/** The run message under these limits; `residentBytes` of the interpreter's heap come on top. */
export function runMessage(limits: Limits, residentBytes = 0): Job["message"] {
  return {
    wallMs: limits.wallMs,
    cpuMs: limits.cpuMs,
    graceMs: HARD_KILL_AFTER_MS,
    memoryBytes: limits.memoryMiB * MIB + residentBytes,
    fileBytes: limits.memfsMiB * MIB,
  };
}

/** The runner's request as a frame's sections: header and short texts in the first, long ones after it. */
export function runnerSections(
  header: object,
  parts: Readonly<Record<string, string | Uint8Array>>,
): Uint8Array[] {
  const short: [string, string][] = [];
  const long: [string, Uint8Array][] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (typeof part !== "string") long.push([name, part]);
    // A text with a NUL is no JSON, and would not come out of the first section in one piece.
    else if (part.length <= SHORT_CHARS && !part.includes("\0")) short.push([name, part]);
    else long.push([name, Buffer.from(part, "utf8")]);
  }
  const names = [...short, ...long].map(([name]) => name);
  const texts = [JSON.stringify({ ...header, parts: names }), ...short.map(([, text]) => text)];
  return [Buffer.from(texts.join("\0"), "utf8"), ...long.map(([, bytes]) => bytes)];
}

/** Largest frame that an honest worker answers an evaluation with. */
export function evaluationReplyBytes(limits: Limits): number {
  const log = ESCAPE_FACTOR * limits.logBytes;
  return limits.outputBytes + limits.contextBytes + log + 2 * FRAME_SLACK_BYTES;
}

function residentHeader(use: ResidentUse | null): object {
  if (use === null) return {};
  const { wanted, plan, mode } = use;
  const { shapeJson: shape, members } = wanted;
  return { resident: { list: plan.list, shape, members, mode } };
}

/** An intake as the runner reads it: an index, and all texts one after the other. */
function intakeParts(intake: Intake): Record<string, string | Uint8Array> {
  const texts = intake.take.map(({ json }) => Buffer.from(json, "utf8"));
  const take = intake.take.map(({ part, id, strict, edits }, index) => [
    part,
    id,
    texts[index]?.byteLength ?? 0,
    strict,
    edits,
  ]);
  const blob = texts.length === 0 ? "" : Buffer.concat(texts);
  return { intake: JSON.stringify({ ...intake, take }), blob };
}
