import type { Logger } from "@berth/service-kit";
import type { AgentSessions, AgentStatus } from "./agent-sessions.ts";
import type { FleetStores, RestoredEvidence } from "./fleet-stores.ts";
import type { UnknownAgent, UnknownAgents } from "./unknown-agents.ts";

/** The control-plane's store and the agents, as `GET /fleet` shows them. */
export interface FleetStatus {
  readonly storeId: string;
  readonly controllerTerm: bigint;
  readonly adoptedStoreIds: readonly string[];
  readonly restored: RestoredEvidence | undefined;
  readonly snapshots: {
    readonly admitted: number;
    readonly waiting: number;
    readonly limit: number;
  };
  readonly agents: readonly AgentStatus[];
  /** Clusters whose agents ask with keys that are not known, as after the loss of a store; at most 100. */
  readonly unknown: readonly UnknownAgent[];
}

/** What {@link FleetAdoption.adopt} did, or would do. */
export interface AdoptionReport {
  readonly dryRun: boolean;
  /** Whether the store got a new id. */
  readonly renewed: boolean;
  /** The store's id afterwards; of a dry run, as it is. */
  readonly storeId: string;
  readonly formerStoreId: string;
  /** Stores whose place this one takes, in this call. */
  readonly adopted: readonly string[];
  /** Agents that only observed and obey from now on. */
  readonly agents: readonly AgentStatus[];
}

/** Lets an operator decide that this control-plane takes the place of the one that agents obeyed. */
export class FleetAdoption {
  readonly #stores: FleetStores;
  readonly #agents: AgentSessions;
  readonly #unknown: Pick<UnknownAgents, "list">;
  readonly #logger: Logger;

  constructor(deps: {
    readonly stores: FleetStores;
    readonly agents: AgentSessions;
    readonly unknown: Pick<UnknownAgents, "list">;
    readonly logger: Logger;
  }) {
    this.#stores = deps.stores;
    this.#agents = deps.agents;
    this.#unknown = deps.unknown;
    this.#logger = deps.logger;
  }

  /** The fleet as it is now. */
  status(orgId: string): FleetStatus {
    return {
      ...this.#stores.fence,
      adoptedStoreIds: this.#stores.adoptedStoreIds,
      restored: this.#stores.restored,
      snapshots: this.#agents.admission.counts,
      agents: this.#agents.status(orgId),
      unknown: this.#unknown.list(),
    };
  }

  /**
   * Takes the place of the stores that connected agents obey, or of the given ones. This store gets a new id
   * when it was restored, and when a connected agent that claims what it never gave is to be obeyed by
   * (by default, or as its own id is among the given ones): then every agent moves on to the new id.
   * The agents concerned register again at once. Nothing changes in a dry run.
   */
  async adopt(
    orgId: string,
    request: { readonly storeIds?: readonly string[] | undefined; readonly dryRun: boolean },
  ): Promise<AdoptionReport> {
    const observing = this.#agents.status(orgId).filter((agent) => agent.mode === "observe");
    const told = observing.filter((agent) => agent.connected).map((agent) => agent.knownStoreId);
    const formerStoreId = this.#stores.fence.storeId;
    const wanted = request.storeIds ?? told;
    // Agents know numbers of this very store that only a new id of it makes them forget.
    const isContradicted =
      wanted.includes(formerStoreId) && observing.some(({ cause }) => cause === "contradicts");
    const plan = this.#stores.plan(wanted, isContradicted);
    const taken = new Set(plan.storeIds);
    const touched = observing.filter((agent) => taken.has(agent.knownStoreId));
    if (!request.dryRun && (plan.renews || plan.storeIds.length > 0)) {
      await this.#stores.adopt(plan);
      this.#agents.endAll(orgId, "the fleet was adopted; register again", (status) => {
        return plan.renews || taken.has(status.knownStoreId);
      });
      this.#logger.warn("stores were adopted", {
        adopted: plan.storeIds,
        renewed: plan.renews,
        store_id: this.#stores.fence.storeId,
      });
    }
    return {
      dryRun: request.dryRun,
      renewed: plan.renews,
      storeId: this.#stores.fence.storeId,
      formerStoreId,
      adopted: plan.storeIds,
      agents: touched,
    };
  }
}
