import { LruCache, type PolicyCode, type RunnablePolicy } from "@berth/policy-sandbox";
import {
  BerthError,
  type Clock,
  type DocumentStore,
  isBerthError,
  type Logger,
  type Write,
} from "@berth/service-kit";

/** What the control-plane gives of a policy. */
export interface FetchedPolicy {
  /** Of its code. */
  readonly digest: string;
  /** Files as one JSON object; empty when the caller has them. */
  readonly filesJson: string;
  readonly settingsJson: string;
  readonly parametersJson: string;
}

/** Asks the control-plane; rejects with UNAVAILABLE while it cannot be reached, with NOT_FOUND when there is none. */
export type FetchPolicy = (
  uri: string,
  knownDigest: string,
  signal: AbortSignal,
) => Promise<FetchedPolicy>;

/** What {@link PolicySource} needs. */
export interface PolicySourceDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly fetch: FetchPolicy;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A policy as the store has it. */
interface KeptPolicy {
  readonly digest: string;
  readonly files: Readonly<Record<string, string>>;
  readonly settingsJson: string;
  readonly parametersJson: string;
}

interface Known {
  readonly kept: KeptPolicy;
  checkedAtMs: number;
  isPublished: boolean;
}

const COLLECTION = "policies";
/** What was asked for within this time is not asked for again, ms: a removal shows that late. */
const FRESH_MS = 10_000;
/** A control-plane that does not answer in that time is one that cannot be reached, ms. */
const ASK_LIMIT_MS = 5_000;
const MAX_KNOWN = 500;
const MAX_KNOWN_CHARACTERS = 32 * 1024 * 1024;

/**
 * Published policies for an agent: from the control-plane, which is asked again after 10 s, and from a copy in the agent's
 * store while it cannot be reached: a cluster goes on deciding by the policies that it knows.
 */
export class PolicySource {
  readonly #deps: PolicySourceDeps;
  readonly #known = new LruCache<Known>({
    maxEntries: MAX_KNOWN,
    maxWeight: MAX_KNOWN_CHARACTERS,
    weightOf: ({ kept }) => JSON.stringify(kept.files).length,
  });
  readonly #asking = new Map<string, Promise<Known>>();

  constructor(deps: PolicySourceDeps) {
    this.#deps = deps;
  }

  /**
   * A policy ready to run. NOT_FOUND when none is published under the URI, UNAVAILABLE when it is not known here and the
   * control-plane cannot be reached.
   */
  async runnable(uri: string): Promise<RunnablePolicy> {
    const known = this.#known.get(uri);
    const isFresh = known && this.#deps.clock.nowMs() - known.checkedAtMs < FRESH_MS;
    const current = isFresh ? known : await this.#askOnce(uri);
    const { kept } = current;
    const { digest, files, settingsJson, parametersJson } = kept;
    const code: PolicyCode = { digest, language: "python", files };
    const name = uri.slice(0, Math.max(0, uri.lastIndexOf(":"))) || uri;
    return {
      uri,
      name,
      code,
      settingsJson,
      parametersJson,
      isPublished: () => current.isPublished,
    };
  }

  /** Callers of the same moment share one question, which outlives each of them. */
  #askOnce(uri: string): Promise<Known> {
    const asking = this.#asking.get(uri);
    if (asking !== undefined) return asking;
    const asked = this.#ask(uri).finally(() => this.#asking.delete(uri));
    this.#asking.set(uri, asked);
    return asked;
  }

  async #ask(uri: string): Promise<Known> {
    const former = this.#known.get(uri)?.kept ?? (await this.#read(uri));
    try {
      const signal = AbortSignal.timeout(ASK_LIMIT_MS);
      const fetched = await this.#deps.fetch(uri, former?.digest ?? "", signal);
      return await this.#take(uri, former, fetched);
    } catch (thrown) {
      if (isBerthError(thrown) && thrown.reason === "NOT_FOUND") {
        await this.#forget(uri, former);
        throw thrown;
      }
      if (former === undefined) throw notHere(uri, thrown);
      this.#deps.logger.warn("a policy is used as it was known last", { policy: uri, err: thrown });
      return this.#keep(uri, former);
    }
  }

  async #take(uri: string, former: KeptPolicy | undefined, fetched: FetchedPolicy): Promise<Known> {
    const { digest, filesJson, settingsJson, parametersJson } = fetched;
    const files = filesJson === "" ? former?.files : (JSON.parse(filesJson) as KeptPolicy["files"]);
    if (files === undefined) {
      throw new BerthError("INTERNAL", `policy ${uri} came without its files`);
    }
    const kept: KeptPolicy = { digest, files, settingsJson, parametersJson };
    if (former !== undefined && JSON.stringify(kept) === JSON.stringify(former)) {
      return this.#keep(uri, former);
    }
    await this.#write(uri, former === undefined ? "insert" : "replace", kept);
    return this.#keep(uri, kept);
  }

  #keep(uri: string, kept: KeptPolicy): Known {
    const before = this.#known.get(uri);
    const checkedAtMs = this.#deps.clock.nowMs();
    if (before?.kept === kept) return Object.assign(before, { checkedAtMs });
    if (before !== undefined) before.isPublished = false;
    const known: Known = { kept, checkedAtMs, isPublished: true };
    this.#known.set(uri, known);
    return known;
  }

  async #read(uri: string): Promise<KeptPolicy | undefined> {
    return (await this.#deps.store.get<KeptPolicy>(this.#key(uri)))?.body;
  }

  async #forget(uri: string, former: KeptPolicy | undefined): Promise<void> {
    const known = this.#known.get(uri);
    if (known !== undefined) known.isPublished = false;
    this.#known.delete(uri);
    if (former !== undefined) await this.#apply({ kind: "delete", key: this.#key(uri) });
  }

  #write(uri: string, kind: "insert" | "replace", body: KeptPolicy): Promise<void> {
    return this.#apply({ kind, key: this.#key(uri), body });
  }

  /** A copy that is not kept is fetched again: no reason not to run the policy. */
  async #apply(write: Write): Promise<void> {
    try {
      await this.#deps.store.apply([write]);
    } catch (err) {
      this.#deps.logger.warn("the copy of a policy was not kept", { policy: write.key.id, err });
    }
  }

  #key(id: string) {
    return { orgId: this.#deps.orgId, collection: COLLECTION, id };
  }
}

function notHere(uri: string, cause: unknown): BerthError {
  const why = isBerthError(cause) && cause.reason !== "INTERNAL" ? `: ${cause.message}` : "";
  const message = `policy ${uri} is not known here, and the control-plane could not be asked${why}`;
  return new BerthError("UNAVAILABLE", message, { cause });
}
