import { evaluateOn, outcomeOfRefusal } from "./host/evaluate.ts";
import { checkOn, MAX_ARCHIVE_BYTES, unpackOn } from "./host/inspect-code.ts";
import { Pool } from "./host/pool.ts";
import { poolLimits } from "./host/pool-policy.ts";
import type { Refusal } from "./host/pool-task.ts";
import { prepareRequest } from "./host/request-parts.ts";
import { SnapshotStore } from "./host/snapshot.ts";
import type { CheckOutcome, EvaluationOutcome, UnpackOutcome } from "./outcome.ts";
import type { PolicyCode } from "./policy.ts";
import type { EvaluationRequest } from "./request.ts";
import type { Sandbox, SandboxOptions, SandboxStats } from "./sandbox-types.ts";

// Tenants of the sandbox's own: a caller's tenant never starts with NUL.
const UNPACK_TENANT = "\0unpack";
const CHECK_TENANT = "\0check";

/** A sandbox. Does no I/O until it is used. */
export function createSandbox(options: SandboxOptions): Sandbox {
  return new PooledSandbox(options);
}

class PooledSandbox implements Sandbox {
  readonly #snapshot: SnapshotStore;
  readonly #pool: Pool;

  constructor(options: SandboxOptions) {
    const onEvent = options.onEvent ?? (() => undefined);
    this.#snapshot = new SnapshotStore(options.stateDir, onEvent);
    this.#pool = new Pool(poolLimits(options), { snapshot: this.#snapshot, onEvent });
  }

  ready(): Promise<void> {
    return this.#pool.warm();
  }

  async evaluate(request: EvaluationRequest): Promise<EvaluationOutcome> {
    if (request.tenant === "" || request.tenant.startsWith("\0")) {
      return { kind: "invalid_input", message: "tenant: expected a name" };
    }
    const prepared = prepareRequest(request);
    if (typeof prepared === "string") return { kind: "invalid_input", message: prepared };
    const outcome = await this.#pool.submit({
      tenant: request.tenant,
      signal: request.signal,
      work: (worker, queuedMs) => evaluateOn(worker, prepared, queuedMs),
    });
    return outcome.kind === "no_worker" ? outcomeOfRefusal(outcome) : outcome;
  }

  async check(code: PolicyCode): Promise<CheckOutcome> {
    const outcome = await this.#pool.submit({
      tenant: CHECK_TENANT,
      work: (worker) => checkOn(worker, code.files),
    });
    return isRefusal(outcome) ? unavailable(outcome) : outcome;
  }

  async unpack(archive: Uint8Array): Promise<UnpackOutcome> {
    if (archive.byteLength > MAX_ARCHIVE_BYTES) {
      const message = `${archive.byteLength} bytes, at most ${MAX_ARCHIVE_BYTES} are allowed`;
      return { kind: "refused", reason: "too_large", message: `the archive has ${message}` };
    }
    const outcome = await this.#pool.submit({
      tenant: UNPACK_TENANT,
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

function isRefusal(outcome: { kind: string }): outcome is Refusal {
  return ["overloaded", "canceled", "no_worker"].includes(outcome.kind);
}

function unavailable(refusal: Refusal): { kind: "unavailable"; message: string } {
  const message = refusal.kind === "canceled" ? "the sandbox is closed" : refusal.message;
  return { kind: "unavailable", message };
}
