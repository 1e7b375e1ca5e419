/** What was told of the health of a node's GPUs; kept with its record, so that a restart tells nothing twice. */
export interface ToldHealth {
  /** GPUs that were told to be unhealthy, and not to have recovered since. */
  readonly gpus: readonly { readonly uuid: string; readonly reason: string }[];
  /** Ids of grave facts that were told and are still known. */
  readonly facts: readonly string[];
}
