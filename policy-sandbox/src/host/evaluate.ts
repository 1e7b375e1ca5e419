import type { EvaluationFacts, EvaluationOutcome } from "../outcome.ts";
import { FrameError } from "../protocol/frames.ts";
import type { EvaluationRequest } from "../request.ts";
import { type AskedInput, askCaller } from "./ask-caller.ts";
import type { ContextUse } from "./context-use.ts";
import { answerHostCall, raiseReply } from "./host-calls.ts";
import type { InputCheck, InputMode, InputTrust } from "./input-trust.ts";
import {
  type AnswerContext,
  type EndCause,
  endMessage,
  type Job,
  type JobReply,
  mayRunElsewhere,
} from "./job.ts";
import { NotBegun, type PoolWorker, type Refusal } from "./pool-task.ts";
import type { PreparedRequest, RequestChecks } from "./prepare-request.ts";
import { evaluationJob, evaluationReplyBytes, type ResidentUse } from "./request-parts.ts";
import type { CheckedResidents } from "./resident-input.ts";
import { type EvaluationReply, parseEvaluationReply } from "./runner-replies.ts";

type Limit = "wall" | "cpu";
type Returned = Extract<EvaluationOutcome, { kind: "returned" }>;

const MIB = 1024 * 1024;

/** A request and how it runs. */
interface Run {
  readonly prepared: PreparedRequest;
  readonly trust: InputTrust;
  /** Null for a request without residents. */
  readonly mode: InputMode | null;
  readonly facts: Omit<EvaluationFacts, "inputCopied" | "inputChanged">;
}

/** What evaluations have in common. */
export interface EvaluationParts {
  readonly trust: InputTrust;
  readonly checks: RequestChecks;
  readonly contexts: ContextUse;
}

/**
 * Runs a checked request on a worker and says how it ended. A changed context is written before this resolves,
 * if the result counts. Rejects only with what the caller's own functions (`resident`, `context.read`) reject with.
 */
export async function evaluateOn(
  worker: PoolWorker,
  prepared: PreparedRequest,
  on: EvaluationParts & { readonly queuedMs: number },
): Promise<EvaluationOutcome | NotBegun<EvaluationOutcome>> {
  const asked = await askCaller(prepared, on.checks);
  if ("kind" in asked) return asked;
  const { tenant } = prepared.request;
  if (!asked.context.isEmpty) on.contexts.noteKept(tenant);
  const outcome = await runOn(worker, { prepared, asked }, on);
  if (outcome instanceof NotBegun) return outcome;
  if (outcome.kind === "returned") settleResult(prepared.request, { asked, outcome }, on.contexts);
  return outcome;
}

/** Before the worker is released: the tenant's next evaluation reads what is written here. */
function settleResult(
  { tenant, policyUri, context, accept }: EvaluationRequest,
  ended: { readonly asked: AskedInput; readonly outcome: Returned },
  contexts: ContextUse,
): void {
  const { contextJson, resultJson } = ended.outcome;
  const counts = accept?.(resultJson) ?? true;
  if (context === undefined) return;
  if (contextJson !== null) {
    contexts.noteKept(tenant);
    if (counts) context.write(contextJson);
  } else if (ended.asked.context.isEmpty) contexts.noteEmpty(tenant, policyUri);
}

async function runOn(
  worker: PoolWorker,
  { prepared, asked }: { readonly prepared: PreparedRequest; readonly asked: AskedInput },
  on: EvaluationParts & { readonly queuedMs: number },
): Promise<EvaluationOutcome | NotBegun<EvaluationOutcome>> {
  const { request } = prepared;
  const { residents: wanted, context } = asked;
  const startedAt = performance.now();
  const loaded = worker.instances.has(prepared.instance);
  const residents = wanted === null ? null : useResidents(worker, request, { wanted, ...on });
  const onAbort = () => worker.cancel();
  request.signal?.addEventListener("abort", onAbort, { once: true });
  if (request.signal?.aborted === true) onAbort();
  const residentBytes = worker.residents.peakBytes;
  const job = evaluationJob(prepared, { loaded, residents, residentBytes, context });
  const reply = await worker.run({ ...job, ...jobBounds(prepared, residentBytes) });
  request.signal?.removeEventListener("abort", onAbort);
  const facts = {
    log: "",
    logTruncated: false,
    wallMs: performance.now() - startedAt,
    cpuMs: reply.kind === "done" ? reply.facts.cpuMs : reply.cpuMs,
    queuedMs: on.queuedMs,
    coldStart: !loaded,
  };
  const run = { prepared, trust: on.trust, mode: residents?.mode ?? null, facts };
  if (reply.kind === "ended") {
    const outcome = outcomeOfEnd(reply.cause, endMessage(reply), run);
    return mayRunElsewhere(reply) ? new NotBegun(outcome) : outcome;
  }
  return outcomeOfReply(worker, reply, run);
}

/** The outcome of a request that no worker took. */
export function outcomeOfRefusal(refusal: Refusal): EvaluationOutcome {
  if (refusal.kind !== "no_worker") return refusal;
  const { message, queuedMs } = refusal;
  const facts = { log: "", logTruncated: false, wallMs: 0, cpuMs: 0, queuedMs, coldStart: true };
  const input = { inputCopied: false, inputChanged: false };
  return { kind: "crashed", cause: "spawn", message, ...facts, ...input };
}

function useResidents(
  worker: PoolWorker,
  { tenant, code }: EvaluationRequest,
  use: { readonly wanted: CheckedResidents; readonly trust: InputTrust },
): ResidentUse {
  const { wanted, trust } = use;
  const mode = trust.modeFor(tenant, code.digest);
  const plan = worker.residents.plan(wanted, trust.epochOf(tenant));
  if (mode === "shared" || mode === "sampled") worker.residents.noteSharer(code.digest);
  return { wanted, plan, mode };
}

function jobBounds(
  prepared: PreparedRequest,
  residentBytes: number,
): Omit<Job, "message" | "sections"> {
  const { limits, clients = {} } = prepared.request;
  return {
    rssMiB: limits.rssMiB + Math.ceil(residentBytes / MIB),
    hostCalls: limits.hostCalls,
    replyBytes: evaluationReplyBytes(limits),
    answer: async (text: string, context: AnswerContext) => {
      if (context.seq > limits.hostCalls) {
        return raiseReply("RuntimeError", `more than ${limits.hostCalls} host calls`);
      }
      if (context.remainingMs <= 0)
        return raiseReply("TimeoutError", "the evaluation's time is over");
      const deadlineMs = Math.min(limits.hostCallMs, context.remainingMs);
      const bounds = { deadlineMs, replyBytes: limits.hostReplyBytes };
      return answerHostCall(text, clients, { limits: bounds, signal: context.signal });
    },
  };
}

/** The facts of a run as they are to be told, with what is known of the code by now. */
function factsOf({ prepared, trust, mode, facts }: Run): EvaluationFacts {
  const { tenant, code } = prepared.request;
  return {
    ...facts,
    inputCopied: mode === "private" || mode === "checked",
    inputChanged: trust.isWriter(tenant, code.digest),
  };
}

function outcomeOfEnd(cause: EndCause, message: string, run: Run): EvaluationOutcome {
  switch (cause) {
    case "wall":
    case "cpu":
      return timedOut(cause, run);
    case "canceled":
    case "closed":
      return { kind: "canceled" };
    case "late":
      return { kind: "crashed", cause: "spawn", message, ...factsOf(run) };
    default:
      return { kind: "crashed", cause, message, ...factsOf(run) };
  }
}

function outcomeOfReply(
  worker: PoolWorker,
  reply: Extract<JobReply, { kind: "done" }>,
  run: Run,
): EvaluationOutcome | NotBegun<EvaluationOutcome> {
  let parsed: EvaluationReply;
  try {
    parsed = parseEvaluationReply(reply.sections, run.prepared.request.limits);
    worker.residents.settle(parsed.revision);
  } catch (error) {
    const why = error instanceof FrameError ? error.message : "the reply cannot be read";
    const message = `the worker broke the protocol: ${why}`;
    worker.discard(message);
    return { kind: "crashed", cause: "protocol", message, ...factsOf(run) };
  }
  worker.instances = parsed.instances;
  noteCheck(worker, parsed.inputCheck, run);
  const { log, logTruncated, cold: coldStart } = parsed;
  const told = { ...run, facts: { ...run.facts, log, logTruncated, coldStart } };
  if (parsed.result.kind === "broken") worker.discard(parsed.result.message);
  else if (parsed.exhausted) worker.discard("an evaluation ran out of memory in it");
  if (reply.facts.fired !== "") return timedOut(reply.facts.fired, told);
  if (parsed.result.kind === "broken") {
    return { kind: "crashed", cause: "trap", message: parsed.result.message, ...factsOf(told) };
  }
  if (parsed.result.kind === "invalid_input") return parsed.result;
  const outcome = { ...parsed.result, ...factsOf(told) };
  return parsed.crowded ? new NotBegun(outcome) : outcome;
}

/** A verdict counts only where one was asked for: the worker may say what it likes. */
function noteCheck(worker: PoolWorker, check: InputCheck, run: Run): void {
  const { prepared, trust, mode } = run;
  const { tenant, code } = prepared.request;
  if (mode !== "checked" && mode !== "sampled") return;
  trust.note({ tenant, digest: code.digest, mode }, check, worker.residents.sharers);
}

function timedOut(limit: Limit, run: Run): EvaluationOutcome {
  const { wallMs, cpuMs } = run.prepared.request.limits;
  return { kind: "timed_out", limit, limitMs: limit === "wall" ? wallMs : cpuMs, ...factsOf(run) };
}
