/** What the control-plane itself notices about the link to an agent. */
export type LinkEventKind =
  | "agent_connected"
  | "agent_lost"
  | "agent_refused"
  | "agent_restored"
  | "store_unknown_to_agent";

/** One such event, about one cluster. */
export interface LinkEvent {
  readonly orgId: string;
  readonly clusterId: string;
  readonly kind: LinkEventKind;
  readonly facts: Readonly<Record<string, unknown>>;
}
