import { createHash, randomUUIDv7 } from "node:crypto";
import type { EvaluationFacts } from "@berth/policy-sandbox";
import type { BerthError } from "@berth/service-kit";
import type { AllocationRequest } from "../allocation-request.ts";
import type { Candidates } from "../choose-candidates.ts";
import type { Sight } from "../sight.ts";
import type {
  DecisionOutcome,
  DecisionRecord,
  RankingRecord,
  RunTimings,
} from "./decision-record.ts";
import { type RecordedData, recordedData } from "./recorded-data.ts";

const MAX_URI_CHARACTERS = 512;
const MAX_LOG_CHARACTERS = 16 * 1024;
const MAX_DROPPED = 200;
const MAX_WARNINGS = 200;
const MAX_ERROR_CHARACTERS = 4 * 1024;

/** What the policy can choose from, and what it cannot. */
interface Chosen extends Pick<Candidates, "dropped" | "warnings"> {
  readonly candidates: readonly { readonly id: string }[];
}

/** A decision in the making; gives its record when it has been made. */
export class DecisionDraft {
  /** UUIDv7. */
  readonly id = randomUUIDv7();
  /** SHA-256 of the policy's code, once the policy is known. */
  policyDigest: string | null = null;
  /** Seconds for which the chosen GPUs are assumed. */
  assumeSeconds = 0;
  readonly #request: AllocationRequest;
  readonly #begunAt = new Date();
  readonly #begunAtMs = performance.now();
  readonly #spent = { queued: 0, policy: 0, policy_cpu: 0 };
  #attempts = 0;
  #log = "";
  #ranking: RankingRecord | undefined;
  #chosen: Chosen | undefined;
  #inventoryRevision: number | null = null;
  #answer: { readonly outcome: DecisionOutcome; readonly data: unknown } | undefined;
  #warnings: readonly string[] = [];

  constructor(request: AllocationRequest) {
    this.#request = request;
    const { selection } = request;
    if (selection.kind !== "search") return;
    this.#ranking = {
      policy_rule_uri: selection.search.policyRuleUri.slice(0, MAX_URI_CHARACTERS),
      ...{ policy_digest: null, timings_ms: null, policy_log: "" },
    };
  }

  /** Takes in what is looked at. */
  looked({ revision }: Sight): void {
    this.#inventoryRevision = revision;
  }

  /** Takes in what can be chosen from, as far as it is known yet. */
  found(chosen: Chosen): void {
    this.#chosen = chosen;
    this.#warnings = chosen.warnings;
  }

  /** Takes in the digest of the ranking policy's code. */
  ranksBy(policy_digest: string): void {
    this.#ranking &&= { ...this.#ranking, policy_digest };
  }

  /** Takes in the run of the ranking policy; without facts it did not run. */
  ranked(facts: EvaluationFacts | undefined): void {
    if (facts === undefined) return;
    const { queuedMs: queued, wallMs: policy, cpuMs: policy_cpu } = facts;
    const timings_ms = roundedTimings({ queued, policy, policy_cpu });
    const policy_log = facts.log.slice(0, MAX_LOG_CHARACTERS);
    this.#ranking &&= { ...this.#ranking, timings_ms, policy_log };
  }

  /** Takes in one run of the policy: its facts, and what it saw. */
  ran(
    facts: EvaluationFacts | undefined,
    seen: { readonly sight: Sight; readonly chosen: Chosen } | undefined,
  ): void {
    this.#attempts += 1;
    if (facts !== undefined) {
      this.#spent.queued += facts.queuedMs;
      this.#spent.policy += facts.wallMs;
      this.#spent.policy_cpu += facts.cpuMs;
      this.#log = facts.log;
    }
    if (seen === undefined) return;
    this.found(seen.chosen);
    this.looked(seen.sight);
  }

  /** Takes in the answer that the client gets. */
  answer(
    check: { readonly kind: "placed" | "unschedulable"; readonly data: unknown },
    warnings: readonly string[],
  ): void {
    this.#answer = { outcome: check.kind, data: check.data };
    this.#warnings = warnings;
  }

  /** The record of a decision that was made. */
  finish(): DecisionRecord {
    return this.#record(null);
  }

  /** The record of a decision that could not be made. */
  fail({ reason, message }: BerthError): DecisionRecord {
    this.#answer = { outcome: "failed", data: null };
    return this.#record({ reason, message: message.slice(0, MAX_ERROR_CHARACTERS) });
  }

  #record(error: DecisionRecord["error"]): DecisionRecord {
    const { outcome, data } = this.#answer ?? { outcome: "failed", data: null };
    const dropped = this.#chosen?.dropped ?? [];
    const recorded = recordedData(data);
    return {
      decision_id: this.id,
      decided_at: this.#begunAt.toISOString(),
      outcome,
      policy_rule_uri: this.#request.policyRuleUri.slice(0, MAX_URI_CHARACTERS),
      policy_digest: this.policyDigest,
      inputs_digest: createHash("sha256").update(this.#request.inputsJson).digest("hex"),
      selection: this.#request.selection.kind,
      ...(this.#ranking === undefined ? {} : { ranking: this.#ranking }),
      inventory_revision: this.#inventoryRevision,
      candidates: this.#chosen?.candidates.map(({ id }) => id) ?? [],
      dropped: dropped.slice(0, MAX_DROPPED),
      dropped_more: Math.max(0, dropped.length - MAX_DROPPED),
      warnings: [...cutWarnings(recorded), ...this.#warnings.slice(0, MAX_WARNINGS)],
      ...recorded,
      error,
      attempts: this.#attempts,
      assume_seconds: this.assumeSeconds,
      timings_ms: {
        total: rounded(performance.now() - this.#begunAtMs),
        ...roundedTimings(this.#spent),
      },
      policy_log: this.#log.slice(0, MAX_LOG_CHARACTERS),
    };
  }
}

function cutWarnings({ data_cut }: RecordedData): readonly string[] {
  if (data_cut === undefined) return [];
  return [`the record holds the beginning of an answer of ${data_cut.bytes} bytes`];
}

function roundedTimings({ queued, policy, policy_cpu }: RunTimings): RunTimings {
  return { queued: rounded(queued), policy: rounded(policy), policy_cpu: rounded(policy_cpu) };
}

/** To a hundredth of a ms. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
