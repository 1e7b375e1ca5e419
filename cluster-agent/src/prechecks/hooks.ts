/** The ten actions that a pre-check policy can govern (seed "Pre-check Policies"). */
export const HOOKS = [
  "add_node",
  "remove_node",
  "update_cluster",
  "scale_block",
  "add_block",
  "remove_block",
  "add_vdag_controller",
  "remove_vdag_controller",
  "block_mgmt",
  "cluster_mgmt",
] as const;

/** One of {@link HOOKS}. */
export type Hook = (typeof HOOKS)[number];

/**
 * The member of a hook's input that a policy may change, and that is done then: what it returns as `input_data` is that
 * member alone, or the whole input with it. A hook without one can be allowed or denied only.
 */
export const CHANGEABLE: Readonly<Record<Hook, string | undefined>> = {
  add_node: "node_data",
  remove_node: "node_id",
  update_cluster: "input",
  scale_block: "input",
  add_block: "block_data",
  remove_block: undefined,
  add_vdag_controller: "input_data",
  remove_vdag_controller: undefined,
  block_mgmt: "input",
  cluster_mgmt: "input",
};

/** Whether a key of `config.actionsPolicyMap` names a hook; others are kept and do nothing. */
export function isHook(name: string): name is Hook {
  return (HOOKS as readonly string[]).includes(name);
}
