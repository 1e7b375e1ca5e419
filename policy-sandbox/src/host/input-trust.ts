/** How an evaluation meets the resident documents. */
export type InputMode =
  /** Copies of its own: the code changes its input. */
  | "private"
  /** Copies of its own, compared afterwards: the code is not known yet. */
  | "checked"
  /** The documents themselves, compared with their source afterwards: a sample. */
  | "sampled"
  /** The documents themselves. */
  | "shared";

/** What the runner saw when it compared; `unknown` when it could not. */
export type InputCheck = "clean" | "changed" | "unknown";

/** Which code is spared the copies. */
export interface TrustOptions {
  /** Share of the evaluations of trusted code that are sampled in the long run: 0 to 1. */
  readonly sampledShare: number;
  /** 0 up to 1, at random; not to be foreseen by a policy. */
  readonly random: () => number;
}

interface Verdict {
  clean: number;
  /** Evaluations since the code was trusted. */
  trusted: number;
  writer: boolean;
}

const CLEAN_BEFORE_TRUST = 3;
/**
 * How many times more often new code is sampled, up to which evaluation: with 1/256 it is every 8th, then every
 * 32nd. A sample compares at most 64 parts of documents: 5 ms of CPU for 64 GPUs each, beside the 3.5 ms of a policy
 * that looks at all GPUs of 100 such documents. So that one is slowed down by a sixth, then by a twentieth.
 */
const MORE_OFTEN = [
  { upTo: 100, times: 32 },
  { upTo: 1_000, times: 8 },
] as const;
const MAX_VERDICTS = 4_096;
const MAX_TENANTS = 4_096;

/**
 * Which code leaves its input alone, by tenant and digest of the code: a verdict outlives workers, instances
 * and parameters. Code is trusted after three evaluations on copies that it left unchanged; once seen to
 * change something it works on copies for good. The verdicts that were used least recently are forgotten,
 * which costs three evaluations on copies.
 *
 * Trusted code is looked at by chance: often while it is new, rarely later. Code that waits until it is trusted, or
 * for its ten-thousandth run, and then writes, changes what its own tenant's evaluations see on that worker, until
 * the document is sent anew, the worker ends or a sample finds it: with 1/256 that is after 256 evaluations on
 * average, four times as many when only one of 256 documents was changed. Code that attacks the runner in its
 * interpreter can also hide from samples. Neither reaches another tenant, the host's own documents, or the checks that
 * the host makes of results: a tenant can spoil its own decisions, which it makes anyway.
 */
export class InputTrust {
  readonly #options: TrustOptions;
  readonly #verdicts = new Map<string, Verdict>();
  readonly #epochs = new Map<string, number>();
  #nextEpoch = 1;

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  /** How the next evaluation of the code is to run. */
  modeFor(tenant: string, digest: string): InputMode {
    const verdict = this.#verdictOf(tenant, digest);
    if (verdict.writer) return "private";
    if (verdict.clean < CLEAN_BEFORE_TRUST) return "checked";
    verdict.trusted += 1;
    const number = CLEAN_BEFORE_TRUST + verdict.trusted;
    const times = MORE_OFTEN.find(({ upTo }) => number <= upTo)?.times ?? 1;
    return this.#options.random() < times * this.#options.sampledShare ? "sampled" : "shared";
  }

  /** Grows when what the tenant's workers hold is in doubt: they drop it and begin anew. */
  epochOf(tenant: string): number {
    return this.#epochs.get(tenant) ?? 0;
  }

  isWriter(tenant: string, digest: string): boolean {
    return this.#verdicts.get(keyOf(tenant, digest))?.writer ?? false;
  }

  /**
   * Notes what a comparison said of one evaluation. `sharers` are the digests of all code that worked on the
   * same documents: when these have changed, nobody can tell by whom.
   */
  note(
    run: { readonly tenant: string; readonly digest: string; readonly mode: InputMode },
    check: InputCheck,
    sharers: Iterable<string>,
  ): void {
    const { tenant, digest, mode } = run;
    if (check === "clean" && mode === "checked") this.#verdictOf(tenant, digest).clean += 1;
    if (check !== "changed") return;
    const suspects = mode === "sampled" ? [...sharers, digest] : [digest];
    for (const suspect of suspects) this.#verdictOf(tenant, suspect).writer = true;
    this.#epochs.delete(tenant);
    this.#epochs.set(tenant, this.#nextEpoch);
    this.#nextEpoch += 1;
    // A tenant that is forgotten goes back to 0, which its workers take for a change as well.
    trim(this.#epochs, MAX_TENANTS);
  }

  #verdictOf(tenant: string, digest: string): Verdict {
    const key = keyOf(tenant, digest);
    const verdict = this.#verdicts.get(key) ?? { clean: 0, trusted: 0, writer: false };
    this.#verdicts.delete(key);
    this.#verdicts.set(key, verdict);
    trim(this.#verdicts, MAX_VERDICTS);
    return verdict;
  }
}

function keyOf(tenant: string, digest: string): string {
  return `${digest}\0${tenant}`;
}

/** Deletes the oldest entries. */
function trim(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
