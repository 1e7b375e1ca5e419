import type { EvaluationOutcome } from "../outcome.ts";
import type { EvaluationRequest, ResidentInput } from "../request.ts";
import type { CheckedContext, PreparedRequest, RequestChecks } from "./prepare-request.ts";
import type { CheckedResidents } from "./resident-input.ts";

/** What a request asks its caller for when its turn has come. */
export interface AskedInput {
  /** Null for a request without residents. */
  readonly residents: CheckedResidents | null;
  readonly context: CheckedContext;
}

type Unanswered = Extract<EvaluationOutcome, { kind: "invalid_input" | "overloaded" | "canceled" }>;
type Answer<T> = { readonly kind: "told"; readonly value: T } | Unanswered;

interface Question {
  /** What the caller is doing, for people. */
  readonly work: string;
  readonly endsAt: number;
  readonly request: EvaluationRequest;
}

const READING = "reading the policy's context";
const GATHERING = "gathering what the policy is to see";
const EMPTY_CONTEXT: CheckedContext = { json: "{}", isEmpty: true, strict: false };

/**
 * Asks the caller for context and residents, in this order and with one deadline for both: the residents are
 * what the policy sees of the world, so nothing is waited for between them and its run. Rejects only with what
 * the caller's functions reject with.
 */
export async function askCaller(
  { request, resident }: PreparedRequest,
  checks: RequestChecks,
): Promise<AskedInput | Unanswered> {
  const endsAt = performance.now() + request.limits.wallMs;
  const context = await contextOf({ work: READING, endsAt, request }, checks);
  if (context.kind !== "told") return context;
  if (typeof request.resident !== "function") {
    return { residents: resident, context: context.value };
  }
  const told = await answer<ResidentInput>(request.resident, {
    work: GATHERING,
    endsAt,
    request,
  });
  if (told.kind !== "told") return told;
  const residents = checks.residents(request, told.value);
  if (typeof residents === "string") return { kind: "invalid_input", message: residents };
  return { residents, context: context.value };
}

async function contextOf(
  question: Question,
  checks: RequestChecks,
): Promise<Answer<CheckedContext>> {
  const { context, call, limits } = question.request;
  if (context === undefined || call?.kind === "management") {
    return { kind: "told", value: EMPTY_CONTEXT };
  }
  const told = await answer(() => context.read(), question);
  if (told.kind !== "told") return told;
  const value = checks.context(told.value, limits);
  return typeof value === "string"
    ? { kind: "invalid_input", message: value }
    : { kind: "told", value };
}

/** The signal of what is asked ends when nobody waits for the answer any more. */
async function answer<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  { work, endsAt, request }: Question,
): Promise<Answer<T>> {
  const { signal, limits } = request;
  const { promise, resolve, reject } = Promise.withResolvers<Answer<T>>();
  const waiting = new AbortController();
  const giveUp = (outcome: Unanswered) => {
    resolve(outcome);
    waiting.abort();
  };
  const message = `${work} took longer than ${limits.wallMs} ms`;
  const onDeadline = () => giveUp({ kind: "overloaded", message });
  const timer = setTimeout(onDeadline, endsAt - performance.now());
  const onAbort = () => giveUp({ kind: "canceled" });
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    ask(waiting.signal).then((value) => resolve({ kind: "told", value }), reject);
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
