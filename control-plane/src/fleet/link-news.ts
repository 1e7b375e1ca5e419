import type { Candidate, Logger } from "@berth/service-kit";
import type { LiveSession } from "./agent-session.ts";
import { duplicateFacts } from "./cluster-duplicates.ts";
import type { LinkEvent, LinkEventKind } from "./link-event.ts";

/** Tells people what happens on the links: in the log, and as events. */
export class LinkNews {
  readonly #orgId: string;
  readonly #logger: Logger;
  readonly #onEvent: (event: LinkEvent) => void;

  /** `onEvent` must not throw. */
  constructor(deps: {
    readonly orgId: string;
    readonly logger: Logger;
    readonly onEvent: (event: LinkEvent) => void;
  }) {
    this.#orgId = deps.orgId;
    this.#logger = deps.logger;
    this.#onEvent = deps.onEvent;
  }

  /** A session began. */
  registered(session: LiveSession): void {
    const { verdict, incarnation, isRestored, instanceId, version } = session;
    const clusterId = session.cluster.id;
    const facts = {
      agent_incarnation: Number(incarnation),
      agent_instance_id: instanceId,
      agent_version: version,
    };
    this.#logger.info("agent registered", { cluster_id: clusterId, ...facts });
    this.#tell(clusterId, "agent_connected", facts);
    if (isRestored) {
      this.#logger.warn("an agent came back with older state", { cluster_id: clusterId, ...facts });
      this.#tell(clusterId, "agent_restored", facts);
    }
    if (verdict.kind === "obey") return;
    const { cause, why } = verdict;
    this.#logger.warn("an agent only observes", { cluster_id: clusterId, cause, why });
    const kind = cause === "contradicts" ? "term_contradicted" : "store_unknown_to_agent";
    this.#tell(clusterId, kind, { why, cause });
  }

  /** The state of a cluster has arrived. */
  live(clusterId: string): void {
    this.#logger.info("cluster is live", { cluster_id: clusterId });
  }

  /** A cluster has lost its agent. */
  lost(clusterId: string, reason: string): void {
    this.#logger.warn("cluster is unreachable", { cluster_id: clusterId, reason });
    this.#tell(clusterId, "agent_lost", { reason });
  }

  /** An agent was not let in, for longer than a moment. */
  refused(clusterId: string, reason: string): void {
    this.#logger.warn("an agent was refused", { cluster_id: clusterId, reason });
    this.#tell(clusterId, "agent_refused", { reason });
  }

  /** An agent asks again and again with a key that is not known. */
  unknownKey(clusterId: string): void {
    const reason =
      "the agent's key is not known here, as after the loss of this store; `berth token create --cluster <id>` makes a token for it, `berth fleet adopt` makes it obey this store";
    this.#logger.warn("an agent asks with an unknown key", { cluster_id: clusterId });
    this.#tell(clusterId, "unknown_key", { reason });
  }

  /** Two agents run as one cluster. */
  duplicate(clusterId: string, candidates: readonly Candidate[]): void {
    const facts = duplicateFacts(candidates);
    this.#logger.warn("two agents run as one cluster", { cluster_id: clusterId, ...facts });
    this.#tell(clusterId, "cluster_duplicate", facts);
  }

  #tell(clusterId: string, kind: LinkEventKind, facts: LinkEvent["facts"]): void {
    this.#onEvent({ orgId: this.#orgId, clusterId, kind, facts });
  }
}
