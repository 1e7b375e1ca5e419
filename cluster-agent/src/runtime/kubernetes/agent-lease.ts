import { type Clock, type Logger, type Part, sleep } from "@berth/service-kit";
import type { KubeClient } from "./kube-client.ts";
import { isAbsent, isConflict } from "./kube-error.ts";
import { type KubeObject, pathOf, RESOURCES } from "./kube-objects.ts";
import { MANAGED_BY } from "./object-names.ts";

/** Durations of a lease. */
export interface LeaseRules {
  /** Others may take it when it was not renewed for so long, ms. */
  readonly durationMs: number;
  /** Who could not renew it for so long does nothing more, ms; less than `durationMs`. */
  readonly renewLimitMs: number;
  /** Between two renewals or attempts, ms. */
  readonly retryMs: number;
}

/** 15 s, 10 s and 2 s, as Kubernetes' own controllers have it. */
export const LEASE_RULES: LeaseRules = { durationMs: 15_000, renewLimitMs: 10_000, retryMs: 2_000 };

/** What an {@link AgentLease} is made of. */
export interface AgentLeaseOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Names this start of the agent; no other start has it. */
  readonly holder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules?: Partial<LeaseRules>;
  /** Another agent is the active one by now: this program has to end. Called once. */
  readonly onFenced: (message: string) => void;
}

/** Name of the Lease in the namespace of the blocks. */
export const LEASE_NAME = "berth-cluster-agent";

interface LeaseObject extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/**
 * Makes one agent the active one of a namespace: the others wait, and change nothing. An agent that was active and cannot
 * renew its lease does nothing either until it can, and is fenced when somebody else has had the lease in between. Clocks
 * of machines are not compared: a lease has run out when its record did not change for its duration, seen from here.
 */
export class AgentLease implements Part {
  readonly name = "agent lease";
  readonly #options: AgentLeaseOptions;
  readonly #rules: LeaseRules;
  readonly #path: string;
  readonly #collection: string;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;
  /** Until when this agent may act, on its own clock. */
  #activeUntilMs = Number.NEGATIVE_INFINITY;
  /** The lease as this agent wrote it last. */
  #own: LeaseObject | undefined;
  #seen: { readonly version: string; readonly atMs: number } | undefined;
  #why = "the agent has not asked for its lease yet";
  #isFenced = false;

  constructor(options: AgentLeaseOptions) {
    this.#options = options;
    this.#rules = { ...LEASE_RULES, ...options.rules };
    this.#collection = pathOf(RESOURCES.lease, options.namespace);
    this.#path = pathOf(RESOURCES.lease, options.namespace, LEASE_NAME);
  }

  /** Begins to ask for the lease; {@link whyInactive} says whether it is held. */
  async start(): Promise<void> {
    this.#loop ??= this.#run();
  }

  /** Gives the lease back, so that the next agent need not wait, and closes the client. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    const mayHold = this.#hasHeld && !this.#isFenced;
    this.#activeUntilMs = Number.NEGATIVE_INFINITY;
    if (mayHold) await this.#giveBack();
    await this.#options.client.close();
  }

  /** Why this agent may change nothing; undefined while it is the active one. */
  whyInactive(): string | undefined {
    return this.#options.clock.nowMs() < this.#activeUntilMs ? undefined : this.#why;
  }

  async #giveBack(): Promise<void> {
    const { client, namespace, holder, logger } = this.#options;
    try {
      const signal = AbortSignal.timeout(this.#rules.retryMs);
      const found = await this.#read(signal);
      if (found?.spec?.holderIdentity !== holder) return;
      const spec = { ...found.spec, holderIdentity: "" };
      await client.replace(this.#path, { ...found, spec }, signal);
    } catch (err) {
      logger.warn("the agent's lease was not given back", { namespace, err });
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted && !this.#isFenced) {
      try {
        await this.#round(AbortSignal.any([signal, AbortSignal.timeout(this.#rules.renewLimitMs)]));
      } catch (thrown) {
        // Somebody wrote it in between: the next round reads it.
        this.#own = isConflict(thrown) || isAbsent(thrown) ? undefined : this.#own;
        const why = thrown instanceof Error ? thrown.message : String(thrown);
        this.#why = `the agent's lease cannot be renewed: ${why}`;
      }
      await sleep(this.#rules.retryMs, signal);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { client, holder } = this.#options;
    const found = this.#own ?? (await this.#read(signal));
    if (found === undefined) {
      const askedAtMs = this.#now();
      this.#take(await client.create(this.#collection, this.#record(undefined), signal), askedAtMs);
      return;
    }
    const { holderIdentity = "" } = found.spec ?? {};
    if (holderIdentity !== holder && this.#hasHeld) {
      this.#fence(holderIdentity);
      return;
    }
    if (holderIdentity !== holder && holderIdentity !== "" && !this.#hasRunOut(found)) {
      this.#why = `another agent is the active one of this cluster: ${holderIdentity}`;
      return;
    }
    const askedAtMs = this.#now();
    this.#take(await client.replace(this.#path, this.#record(found), signal), askedAtMs);
  }

  get #hasHeld(): boolean {
    return this.#activeUntilMs !== Number.NEGATIVE_INFINITY;
  }

  #take(written: LeaseObject, askedAtMs: number): void {
    const { logger, namespace } = this.#options;
    if (!this.#hasHeld) logger.info("the agent is the active one", { namespace });
    this.#own = written;
    this.#activeUntilMs = askedAtMs + this.#rules.renewLimitMs;
    this.#why = "the agent's lease was not renewed in time";
  }

  #fence(by: string): void {
    this.#isFenced = true;
    this.#activeUntilMs = Number.NEGATIVE_INFINITY;
    this.#why = `another agent has become the active one of this cluster${by === "" ? "" : `: ${by}`}`;
    this.#options.logger.error("the agent is fenced", { by });
    this.#options.onFenced(this.#why);
  }

  #hasRunOut({ metadata, spec }: LeaseObject): boolean {
    const version = metadata?.resourceVersion ?? "";
    if (this.#seen?.version !== version) this.#seen = { version, atMs: this.#now() };
    const { leaseDurationSeconds = this.#rules.durationMs / 1_000 } = spec ?? {};
    return this.#now() - this.#seen.atMs >= leaseDurationSeconds * 1_000;
  }

  async #read(signal: AbortSignal): Promise<LeaseObject | undefined> {
    try {
      return await this.#options.client.read<LeaseObject>(this.#path, signal);
    } catch (thrown) {
      // A missing namespace answers so too: the creation that follows says it.
      if (isAbsent(thrown)) return undefined;
      throw thrown;
    }
  }

  #record(found: LeaseObject | undefined): LeaseObject {
    const { holder, namespace, clock } = this.#options;
    const now = clock.timestamp().replace(/(\.\d{3})?Z$/, (fraction) => microseconds(fraction));
    const before = found?.spec ?? {};
    const isRenewal = before.holderIdentity === holder;
    const { resourceVersion } = found?.metadata ?? {};
    const labels = { "app.kubernetes.io/managed-by": MANAGED_BY };
    const metadata = { name: LEASE_NAME, namespace, labels };
    return {
      apiVersion: RESOURCES.lease.apiVersion,
      kind: RESOURCES.lease.kind,
      metadata: resourceVersion === undefined ? metadata : { ...metadata, resourceVersion },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds: Math.max(Math.round(this.#rules.durationMs / 1_000), 1),
        acquireTime: (isRenewal ? before.acquireTime : undefined) ?? now,
        renewTime: now,
        leaseTransitions: (before.leaseTransitions ?? 0) + (isRenewal || !found ? 0 : 1),
      },
    };
  }

  #now(): number {
    return this.#options.clock.nowMs();
  }
}

/** Times of a Lease have six digits after the second. */
function microseconds(fraction: string): string {
  return `${fraction === "Z" ? ".000" : fraction.slice(0, 4)}000Z`;
}
