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

type Unanswered = Extract<EvaluationOutcome, { kind: "invalid_input" | "canceled" }>;
type Answer<T> = { readonly kind: "told"; readonly value: T } | Unanswered;

interface Question {
  readonly name: string;
  readonly endsAt: number;
  readonly request: EvaluationRequest;
}

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
  const context = await contextOf({ name: "context", endsAt, request }, checks);
  if (context.kind !== "told") return context;
  if (typeof request.resident !== "function") {
    return { residents: resident, context: context.value };
  }
  const told = await answer<ResidentInput>(request.resident, {
    name: "resident",
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

async function answer<T>(ask: () => Promise<T>, question: Question): Promise<Answer<T>> {
  const { name, endsAt, request } = question;
  const { signal, limits } = request;
  const { promise, resolve, reject } = Promise.withResolvers<Answer<T>>();
  const message = `${name}: not told within ${limits.wallMs} ms`;
  const timer = setTimeout(
    () => resolve({ kind: "invalid_input", message }),
    endsAt - performance.now(),
  );
  const onAbort = () => resolve({ kind: "canceled" });
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  try {
    ask().then((value) => resolve({ kind: "told", value }), reject);
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
