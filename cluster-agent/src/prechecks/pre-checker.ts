import { isDeepStrictEqual } from "node:util";
import { BerthError, isBerthError, plainOf } from "@berth/service-kit";
import type { AgentPolicies, AgentPolicyRun } from "../policies/agent-policies.ts";
import { CHANGEABLE, HOOKS, type Hook } from "./hooks.ts";
import { type MapEntry, mapEntry, type PrecheckPolicy } from "./policy-map.ts";
import { readVerdict, type Verdict } from "./verdict.ts";
import type { VerdictLog, VerdictRecord } from "./verdict-log.ts";

/** A policy may run for 5 s; the rest is for those before it in the line. */
const ANSWER_WITHIN_MS = 15_000;
/** Until the first has run, when the sandbox itself is starting, it is so many times that. */
const COLD_FACTOR = 2;
/** Of what a failed policy says so much is kept. */
const MAX_MESSAGE_CHARACTERS = 2_000;

/** One action that is to be checked; `Change` is what its input may be changed to. */
export interface PrecheckRequest<Change = unknown> {
  readonly hook: Hook;
  /** What it is about, for the log: "block/echo". */
  readonly about: string;
  /** `input_data` of the policy; its numbers may be `RawNumber`s. Made only when a policy asks for it. */
  readonly input: () => Readonly<Record<string, unknown>>;
  /** Reads what a policy has changed the input to; throws a BerthError when that does not hold. */
  readonly accept: (changed: unknown) => Change;
  /** A policy that fails does not refuse this one; one that denies does. */
  readonly passesFailure?: boolean;
  readonly signal: AbortSignal;
}

/** An action was not allowed; for the control-plane. */
export interface PrecheckEvent {
  readonly kind: "precheck_denied";
  /** "add_block/block/echo". */
  readonly key: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What {@link PreChecker} checks with. */
export interface PreCheckerDeps {
  /** `config.actionsPolicyMap` as it is now. */
  readonly policyMap: () => unknown;
  /** Undefined where this agent runs no policies: then every action that one governs is refused. */
  readonly policies: Pick<AgentPolicies, "run"> | undefined;
  /** What policies can call: `settings["get_metrics"]`. */
  readonly clients: NonNullable<AgentPolicyRun["clients"]>;
  readonly log: VerdictLog;
  /** Hears of denials, also of those that only warn; must not throw. */
  readonly onEvent: (event: PrecheckEvent) => void;
  /** Longest time that a policy is waited for, the wait for its turn included, ms; 15 s by default. Twice that for the first. */
  readonly answerWithinMs?: number;
}

/** The action may go on. */
export interface Allowed<Change = unknown> {
  /** What is to be done instead of what was asked for; absent = as asked. */
  readonly changed?: Change;
  /** Denials that only warn. */
  readonly warnings: readonly string[];
}

/** Asks the cluster's pre-check policies whether an action may go on. */
export class PreChecker {
  readonly #deps: PreCheckerDeps;
  #hasRun = false;

  constructor(deps: PreCheckerDeps) {
    this.#deps = deps;
  }

  /** What the map says of each hook. */
  entries(): ReadonlyMap<Hook, MapEntry> {
    const map = this.#deps.policyMap();
    return new Map(HOOKS.map((hook) => [hook, mapEntry(map, hook)]));
  }

  /**
   * Resolves when the action may go on. PRECHECK_DENIED with the policy's reason when it may not, and when its policy fails
   * or cannot be had: who governs an action wants to be asked. POLICY_FAILED when it changes the input to what does not
   * hold. A policy that only warns or audits stops nothing.
   */
  async check<Change>(request: PrecheckRequest<Change>): Promise<Allowed<Change>> {
    const { hook, passesFailure = false } = request;
    const entry = mapEntry(this.#deps.policyMap(), hook);
    if (entry.kind === "none") return { warnings: [] };
    if (entry.kind === "unreadable") {
      if (passesFailure) return { warnings: [entry.why] };
      throw new BerthError("PRECHECK_DENIED", entry.why, { details: { hook } });
    }
    const { policy } = entry;
    const { verdict, accepted } = accept(await this.#verdict(policy, request), request);
    const record = await this.#deps.log.note({ ...request, policy, verdict });
    const { mode } = policy;
    if (verdict.kind === "allowed") {
      const isChanged = mode === "enforce" && accepted !== undefined;
      return isChanged ? { changed: accepted, warnings: [] } : { warnings: [] };
    }
    this.#tell(record);
    const refusal = refusalOf(policy, hook, verdict);
    const isFailure = verdict.kind !== "denied";
    if (mode === "enforce" && !(isFailure && passesFailure)) throw refusal;
    return { warnings: mode === "audit" ? [] : [warningOf(policy, hook, verdict)] };
  }

  async #verdict(policy: PrecheckPolicy, request: PrecheckRequest): Promise<Verdict> {
    const input = request.input();
    const verdict = await this.#ask(policy, request, JSON.stringify(input));
    if (verdict.kind !== "allowed" || verdict.changed === undefined) return verdict;
    const item = CHANGEABLE[request.hook];
    const asked = item === undefined ? undefined : input[item];
    // Most policies return what they were given: that is done with its numbers as the client wrote them.
    const isSame = isDeepStrictEqual(plainOf(asked), plainOf(verdict.changed));
    return isSame ? { kind: "allowed" } : verdict;
  }

  async #ask(
    { policyRuleUri: uri, parameters, settings }: PrecheckPolicy,
    { hook, signal }: PrecheckRequest,
    inputJson: string,
  ): Promise<Verdict> {
    const { policies, clients, answerWithinMs = ANSWER_WITHIN_MS } = this.#deps;
    if (policies === undefined) {
      return failed("this cluster-agent runs no policies");
    }
    const limitMs = this.#hasRun ? answerWithinMs : COLD_FACTOR * answerWithinMs;
    const late = AbortSignal.timeout(limitMs);
    try {
      const outcome = await policies.run({
        ...{ uri, parameters, settings, clients, inputJson },
        kind: "precheck",
        signal: AbortSignal.any([signal, late]),
      });
      if (outcome.kind === "failed") {
        const { reason, message } = outcome.error;
        this.#hasRun ||= outcome.facts !== undefined;
        const isLate = reason === "CANCELED" && late.aborted && !signal.aborted;
        return failed(isLate ? lateMessage(limitMs) : message);
      }
      this.#hasRun = true;
      return readVerdict(hook, outcome.resultJson);
    } catch (thrown) {
      signal.throwIfAborted();
      if (!isBerthError(thrown)) throw thrown;
      return failed(thrown.message);
    }
  }

  #tell({ hook, about, policyRuleUri, mode, verdict, why, times }: VerdictRecord): void {
    if (mode === "audit" || times > 1) return;
    const facts = { hook, about, policy_rule_uri: policyRuleUri, mode, verdict, why: why ?? "" };
    this.#deps.onEvent({ kind: "precheck_denied", key: `${hook}/${about}`, facts });
  }
}

function lateMessage(limitMs: number): string {
  return `it did not answer within ${limitMs} ms, the wait for its turn included`;
}

function failed(message: string): Verdict {
  return { kind: "invalid", message: message.slice(0, MAX_MESSAGE_CHARACTERS) };
}

/** Reads what a policy has changed the input to; what does not hold makes its verdict another one. */
function accept<Change>(
  verdict: Verdict,
  { accept: read }: Pick<PrecheckRequest<Change>, "accept">,
): { readonly verdict: Verdict; readonly accepted?: Change } {
  if (verdict.kind !== "allowed" || verdict.changed === undefined) return { verdict };
  try {
    return { verdict, accepted: read(verdict.changed) };
  } catch (thrown) {
    if (!isBerthError(thrown)) throw thrown;
    const message = thrown.message.slice(0, MAX_MESSAGE_CHARACTERS);
    return { verdict: { kind: "unfit", message } };
  }
}

type Refusing = Exclude<Verdict, { kind: "allowed" }>;

function refusalOf(policy: PrecheckPolicy, hook: Hook, verdict: Refusing): BerthError {
  const details = { hook, policy_rule_uri: policy.policyRuleUri };
  const message = warningOf(policy, hook, verdict);
  if (verdict.kind === "denied") {
    return new BerthError("PRECHECK_DENIED", message, {
      details: { ...details, input_data: verdict.data },
    });
  }
  if (verdict.kind === "unfit") return new BerthError("POLICY_FAILED", message, { details });
  const why = `${hook} is refused, as its policy ${policy.policyRuleUri} gave no verdict: ${verdict.message}`;
  return new BerthError("PRECHECK_DENIED", why, { details });
}

function warningOf({ policyRuleUri: uri }: PrecheckPolicy, hook: Hook, verdict: Refusing): string {
  switch (verdict.kind) {
    case "denied":
      return `${hook} is not allowed by policy ${uri}: ${verdict.reason}`;
    case "unfit":
      return `policy ${uri} changed the input of ${hook} to what does not hold: ${verdict.message}`;
    case "invalid":
      return `policy ${uri} of ${hook} gave no verdict: ${verdict.message}`;
  }
}
