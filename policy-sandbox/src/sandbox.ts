import { ContextUse } from "./host/context-use.ts";
import { evaluateOn, outcomeOfRefusal } from "./host/evaluate.ts";
import { InputTrust } from "./host/input-trust.ts";
import { checkOn, MAX_ARCHIVE_BYTES, unpackOn } from "./host/inspect-code.ts";
import { Pool } from "./host/pool.ts";
import { poolLimits } from "./host/pool-policy.ts";
import type { Refusal } from "./host/pool-task.ts";
import { RequestChecks } from "./host/prepare-request.ts";
import { unfitDocuments } from "./host/resident-fit.ts";
import { ResidentRecord } from "./host/resident-record.ts";
import { SnapshotStore } from "./host/snapshot.ts";
import type { Limits } from "./limits.ts";
import type { CheckOutcome, EvaluationOutcome, UnpackOutcome } from "./outcome.ts";
import type { PolicyCode } from "./policy.ts";
import type { EvaluationRequest, ResidentInput } from "./request.ts";
import type { Sandbox, SandboxOptions, SandboxStats, UnfitResident } from "./sandbox-types.ts";

// Tenants of the sandbox's own: a caller's tenant never starts with NUL.
const UNPACK_TENANT = "\0unpack";
const CHECK_TENANT = "\0check";

const MIB = 1024 * 1024;
const DEFAULT_RESIDENT_MIB = 64;
// Eight times the default of the texts: seed-shaped documents take three to four times theirs.
const RESIDENT_HEAP_MIB = 512;
const DEFAULT_CHECK_SHARE = 1 / 256;

/** A sandbox. Does no I/O until it is used. */
export function createSandbox(options: SandboxOptions): Sandbox {
  return new PooledSandbox(options);
}

class PooledSandbox implements Sandbox {
  readonly #snapshot: SnapshotStore;
  readonly #pool: Pool;
  readonly #checks: RequestChecks;
  readonly #trust: InputTrust;
  readonly #contexts = new ContextUse();

  constructor(options: SandboxOptions) {
    const onEvent = options.onEvent ?? (() => undefined);
    const bounds = {
      textBytes: (options.maxResidentMiB ?? DEFAULT_RESIDENT_MIB) * MIB,
      heapBytes: RESIDENT_HEAP_MIB * MIB,
    };
    this.#checks = new RequestChecks(bounds);
    this.#trust = new InputTrust({
      sampledShare: options.inputCheckShare ?? DEFAULT_CHECK_SHARE,
      random: Math.random,
    });
    this.#snapshot = new SnapshotStore(options.stateDir, onEvent);
    this.#pool = new Pool(poolLimits(options), {
      snapshot: this.#snapshot,
      onEvent,
      newRecord: () => new ResidentRecord(bounds, this.#checks.sizes),
    });
  }

  ready(): Promise<void> {
    return this.#pool.warm();
  }

  async evaluate(request: EvaluationRequest): Promise<EvaluationOutcome> {
    if (request.tenant === "" || request.tenant.startsWith("\0")) {
      return { kind: "invalid_input", message: "tenant: expected a name" };
    }
    const prepared = this.#checks.prepare(request);
    if (typeof prepared === "string") return { kind: "invalid_input", message: prepared };
    const outcome = await this.#pool.submit({
      tenant: request.tenant,
      bytes: bytesOf(request),
      signal: request.signal,
      runsAlone: () => this.#contexts.runsAlone(request.tenant, contextName(request)),
      code: request.code.digest,
      work: (worker, queuedMs) =>
        evaluateOn(worker, prepared, {
          queuedMs,
          trust: this.#trust,
          checks: this.#checks,
          contexts: this.#contexts,
        }),
    });
    return outcome.kind === "no_worker" ? outcomeOfRefusal(outcome) : outcome;
  }

  unfitResidents(resident: ResidentInput, limits: Limits): readonly UnfitResident[] {
    return unfitDocuments(resident, limits, this.#checks);
  }

  async check(code: PolicyCode, caller = ""): Promise<CheckOutcome> {
    const outcome = await this.#pool.submit({
      tenant: CHECK_TENANT,
      line: `${CHECK_TENANT}/${caller}`,
      bytes: Object.values(code.files).reduce((sum, text) => sum + text.length, 0),
      work: (worker) => checkOn(worker, code.files),
    });
    return isRefusal(outcome) ? unavailable(outcome) : outcome;
  }

  async unpack(archive: Uint8Array, caller = ""): Promise<UnpackOutcome> {
    if (archive.byteLength > MAX_ARCHIVE_BYTES) {
      const message = `${archive.byteLength} bytes, at most ${MAX_ARCHIVE_BYTES} are allowed`;
      return { kind: "refused", reason: "too_large", message: `the archive has ${message}` };
    }
    const outcome = await this.#pool.submit({
      tenant: UNPACK_TENANT,
      line: `${UNPACK_TENANT}/${caller}`,
      bytes: archive.byteLength,
      work: (worker) => unpackOn(worker, archive),
    });
    return isRefusal(outcome) ? unavailable(outcome) : outcome;
  }

  stats(): SandboxStats {
    return { ...this.#pool.stats(), snapshot: this.#snapshot.state };
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#snapshot.close()]);
  }
}

/** What a request's context belongs to; null when it has none. */
function contextName({ context, call, policyUri }: EvaluationRequest): string | null {
  return context === undefined || call?.kind === "management" ? null : policyUri;
}

/** Of text that is not Latin-1 it is half of what is kept. */
function bytesOf({ call, inputJson, settingsJson, parametersJson }: EvaluationRequest): number {
  const input = call?.kind === "management" ? call.dataJson : inputJson;
  return input.length + settingsJson.length + parametersJson.length;
}

function isRefusal(outcome: { kind: string }): outcome is Refusal {
  return ["overloaded", "canceled", "no_worker"].includes(outcome.kind);
}

function unavailable(refusal: Refusal): { kind: "unavailable"; message: string } {
  const message = refusal.kind === "canceled" ? "the sandbox is closed" : refusal.message;
  return { kind: "unavailable", message };
}
