/**
 * Kinds of what the control-plane itself notices about the link to an agent. They are its own: no agent may
 * tell an event of such a kind.
 */
export const LINK_EVENT_KINDS = [
  "agent_connected",
  "agent_lost",
  "agent_refused",
  "agent_restored",
  "cluster_duplicate",
  "store_unknown_to_agent",
  "term_contradicted",
  "unknown_key",
] as const;

/** What the control-plane itself notices about the link to an agent. */
export type LinkEventKind = (typeof LINK_EVENT_KINDS)[number];

/** One such event, about one cluster. */
export interface LinkEvent {
  readonly orgId: string;
  readonly clusterId: string;
  readonly kind: LinkEventKind;
  readonly facts: Readonly<Record<string, unknown>>;
}
