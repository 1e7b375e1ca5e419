/**
 * Kinds of what the control-plane itself notices, about the links to agents and about its org. They are its own: no agent
 * may tell an event of such a kind.
 */
export const LINK_EVENT_KINDS = [
  "agent_connected",
  "agent_lost",
  "agent_refused",
  "agent_restored",
  "cluster_duplicate",
  "replica_drift",
  "store_unknown_to_agent",
  "term_contradicted",
  "unknown_key",
] as const;

/** What the control-plane itself notices. */
export type LinkEventKind = (typeof LINK_EVENT_KINDS)[number];

/** One such event. */
export interface LinkEvent {
  readonly orgId: string;
  /** Empty when it is about no cluster. */
  readonly clusterId: string;
  /** What it is about: "quota/q-1"; the cluster by default. */
  readonly key?: string;
  readonly kind: LinkEventKind;
  readonly facts: Readonly<Record<string, unknown>>;
}
