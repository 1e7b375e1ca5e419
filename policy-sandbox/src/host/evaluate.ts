import type { EvaluationFacts, EvaluationOutcome } from "../outcome.ts";
import { FrameError } from "../protocol/frames.ts";
import { answerHostCall, raiseReply } from "./host-calls.ts";
import type { PoolWorker, Refusal } from "./pool-task.ts";
import { evaluationJob, evaluationReplyBytes, type PreparedRequest } from "./request-parts.ts";
import { type EvaluationReply, parseEvaluationReply } from "./runner-replies.ts";
import type { AnswerContext, EndCause, Job, JobReply } from "./worker-process.ts";

type Limit = "wall" | "cpu";

/** Runs a checked request on a worker and says how it ended. Never rejects. */
export async function evaluateOn(
  worker: PoolWorker,
  prepared: PreparedRequest,
  queuedMs: number,
): Promise<EvaluationOutcome> {
  const startedAt = performance.now();
  const { request } = prepared;
  const loaded = worker.instances.has(prepared.instance);
  const onAbort = () => worker.cancel();
  request.signal?.addEventListener("abort", onAbort, { once: true });
  if (request.signal?.aborted === true) onAbort();
  const reply = await worker.run({ ...evaluationJob(prepared, loaded), ...jobBounds(prepared) });
  request.signal?.removeEventListener("abort", onAbort);
  const facts: EvaluationFacts = {
    log: "",
    logTruncated: false,
    wallMs: performance.now() - startedAt,
    cpuMs: reply.kind === "done" ? reply.facts.cpuMs : reply.cpuMs,
    queuedMs,
    coldStart: !loaded,
  };
  if (reply.kind === "ended") return outcomeOfEnd(reply.cause, reply.message, { prepared, facts });
  return outcomeOfReply(worker, reply, { prepared, facts });
}

/** The outcome of a request that no worker took. */
export function outcomeOfRefusal(refusal: Refusal): EvaluationOutcome {
  if (refusal.kind !== "no_worker") return refusal;
  const { message, queuedMs } = refusal;
  const facts = { log: "", logTruncated: false, wallMs: 0, cpuMs: 0, queuedMs, coldStart: true };
  return { kind: "crashed", cause: "spawn", message, ...facts };
}

function jobBounds(prepared: PreparedRequest): Omit<Job, "message" | "sections"> {
  const { limits, clients = {} } = prepared.request;
  return {
    rssMiB: limits.rssMiB,
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

function outcomeOfEnd(
  cause: EndCause,
  message: string,
  about: { prepared: PreparedRequest; facts: EvaluationFacts },
): EvaluationOutcome {
  const { facts, prepared } = about;
  switch (cause) {
    case "wall":
    case "cpu":
      return timedOut(cause, prepared, facts);
    case "canceled":
    case "closed":
      return { kind: "canceled" };
    default:
      return { kind: "crashed", cause, message, ...facts };
  }
}

function outcomeOfReply(
  worker: PoolWorker,
  reply: Extract<JobReply, { kind: "done" }>,
  about: { prepared: PreparedRequest; facts: EvaluationFacts },
): EvaluationOutcome {
  const { prepared, facts } = about;
  let parsed: EvaluationReply;
  try {
    parsed = parseEvaluationReply(reply.sections, prepared.request.limits);
  } catch (error) {
    const why = error instanceof FrameError ? error.message : "the reply cannot be read";
    const message = `the worker broke the protocol: ${why}`;
    worker.discard(message);
    return { kind: "crashed", cause: "protocol", message, ...facts };
  }
  worker.instances = parsed.instances;
  const { log, logTruncated, cold: coldStart } = parsed;
  const told = { ...facts, log, logTruncated, coldStart };
  if (parsed.result.kind === "broken") worker.discard(parsed.result.message);
  if (reply.facts.fired !== "") return timedOut(reply.facts.fired, prepared, told);
  if (parsed.result.kind === "broken") {
    return { kind: "crashed", cause: "trap", message: parsed.result.message, ...told };
  }
  if (parsed.result.kind === "invalid_input") return parsed.result;
  return { ...parsed.result, ...told };
}

function timedOut(
  limit: Limit,
  prepared: PreparedRequest,
  facts: EvaluationFacts,
): EvaluationOutcome {
  const { wallMs, cpuMs } = prepared.request.limits;
  return { kind: "timed_out", limit, limitMs: limit === "wall" ? wallMs : cpuMs, ...facts };
}
