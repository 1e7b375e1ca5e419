import type { AgentRegisterRequest } from "@berth/proto";
import type { DuplicateWatch, Principal } from "@berth/service-kit";
import type { AgentBindings, Descent } from "./agent-bindings.ts";
import { judgeCredential } from "./check-register.ts";
import { askingInstance, duplicateRefusal } from "./cluster-duplicates.ts";
import type { FleetStores } from "./fleet-stores.ts";
import type { KnownStore, StoreVerdict } from "./store-verdict.ts";

/** Who registers, by its connection. */
export interface RegisteringAgent {
  /** Whom the key of the call speaks for. Throws UNAUTHENTICATED when it does not, or not any more. */
  readonly principal: () => Principal;
  /** Address that it dialled from, where it is known. */
  readonly address?: string | undefined;
}

/** A registration that is let in. */
export interface AdmittedAgent {
  readonly known: KnownStore;
  readonly verdict: StoreVerdict;
  readonly isRestored: boolean;
}

/**
 * Refuses the orders to a cluster whose fate nobody knows; durable when it resolves. All of them, or those that
 * were offered under a term id that the agent has not reached. Gives how many there were.
 */
export type WithdrawOrders = (
  clusterId: string,
  isReached?: (offeredUnder: string) => boolean,
) => Promise<number>;

/** What {@link RegistrationJudge} needs. */
export interface RegistrationJudgeDeps {
  readonly stores: FleetStores;
  readonly bindings: AgentBindings;
  readonly watch: DuplicateWatch;
  readonly withdrawOrders: WithdrawOrders;
  /** Called right behind the writing of who a cluster's agent is; must not reject. */
  readonly advance: () => Promise<void>;
  /** Hears that an agent was refused, and why; must not throw. */
  readonly onRefused: (clusterId: string, reason: string) => void;
}

/** Judges registrations: whose key it is, whether the agent is the only one, and what it remembers. */
export class RegistrationJudge {
  readonly #deps: RegistrationJudgeDeps;
  /** The process of each cluster that was last told to be refused by a pick. */
  readonly #toldRefused = new Map<string, string>();

  constructor(deps: RegistrationJudgeDeps) {
    this.#deps = deps;
  }

  /** Throws PERMISSION_DENIED or ALREADY_EXISTS when the key is not of this cluster and identity. */
  checkCredential(principal: Principal, clusterId: string, identity: string): void {
    const verdict = judgeCredential(principal, { clusterId, identity });
    if (verdict.kind === "holds") return;
    if (verdict.cause === "identity") {
      this.#deps.onRefused(clusterId, "a second cluster claims the id of the first");
    }
    throw verdict.error;
  }

  /**
   * Lets an agent in, or throws: UNAVAILABLE while another process of the cluster may still be there,
   * ALREADY_EXISTS when two run as one or an operator has picked another, or when the cluster id is bound
   * to another identity. What it changes is durable when it resolves. Not to be called twice at once for
   * one cluster.
   */
  async admit(
    request: AgentRegisterRequest,
    facts: {
      readonly identity: string;
      readonly address: string | undefined;
      /** Whether a stream of another process's session is open. */
      readonly isHolderPresent: boolean;
    },
  ): Promise<AdmittedAgent> {
    const { stores, bindings, advance } = this.#deps;
    const { clusterId } = request;
    const descent = await bindings.descent(request, facts.identity);
    await this.#refuseSecond(request, facts);
    const known = {
      storeId: request.knownStoreId,
      controllerTerm: request.knownControllerTerm,
      termId: request.knownTermId,
    };
    const verdict = await stores.judge(clusterId, known);
    // Before the new start is remembered: after a crash in between it counts as restored again.
    const isRestored = await this.#isRestored(clusterId, descent, known);
    if (descent.write !== undefined) await Promise.all([bindings.bind(descent), advance()]);
    return { known, verdict, isRestored };
  }

  /** Forgets what was told of a cluster that is removed or decided anew. */
  forget(clusterId: string): void {
    this.#toldRefused.delete(clusterId);
  }

  /**
   * Whether the agent's state is an older copy: it does not know the start that was answered last, or not an order
   * that was offered to that one, which its copy does not have. What it may have carried out is refused.
   */
  async #isRestored(clusterId: string, descent: Descent, known: KnownStore): Promise<boolean> {
    const { stores, withdrawOrders } = this.#deps;
    if (descent.isRestored) {
      await withdrawOrders(clusterId);
      return true;
    }
    if (!descent.isAnother) return false;
    const isReached = (offeredUnder: string) => stores.isKnownTo(known, offeredUnder);
    return (await withdrawOrders(clusterId, isReached)) > 0;
  }

  async #refuseSecond(
    request: AgentRegisterRequest,
    { address, isHolderPresent }: { address: string | undefined; isHolderPresent: boolean },
  ): Promise<void> {
    const { watch } = this.#deps;
    const { clusterId, agentInstanceId, formerInstanceIds } = request;
    const agent = askingInstance(request, address);
    const formerIds = formerInstanceIds;
    const verdict = await watch.asks(clusterId, { agent, formerIds, isHolderPresent });
    const refusal = duplicateRefusal(clusterId, verdict);
    if (refusal === undefined) return;
    if (verdict === "refused" && this.#toldRefused.get(clusterId) !== agentInstanceId) {
      this.#toldRefused.set(clusterId, agentInstanceId);
      this.#deps.onRefused(clusterId, "an operator has picked another agent of the cluster");
    }
    throw refusal;
  }
}
