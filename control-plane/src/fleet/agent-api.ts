import type {
  AllocationDocument,
  BlockDocument,
  LeaseDocument,
  LedgerDocument,
  OperationDocument,
} from "@berth/proto";

/** A request to the API that a cluster's agent serves on its port 32000. */
export interface AgentCall {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** "/executeAction", with the query if there is one. */
  readonly path: string;
  /** JSON text, numbers as they were written; absent when the request has no body. */
  readonly bodyJson?: string;
}

/** What the agent's API answered. */
export interface AgentAnswer {
  /** HTTP status. */
  readonly status: number;
  /** JSON text. */
  readonly bodyJson: string;
}

/** Asks agents. */
export interface AgentApi {
  /**
   * Asks as an order that is carried out once, over reconnects and restarts, with the order's id as idempotency key where
   * the request has none. Gives the agent's answer, also one that refuses. Rejects with NOT_FOUND for a cluster without an
   * agent, DEADLINE_EXCEEDED when it did not answer in time: it may still carry the order out until then, and
   * with what the link refuses orders for.
   */
  call(
    clusterId: string,
    request: AgentCall,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<AgentAnswer>;
}

/** What an agent told of the blocks of its cluster, as it stands now. Immutable. */
export interface ClusterBlocks {
  readonly clusterId: string;
  /** Absent while the agent has not told, or runs no blocks. */
  readonly ledger: LedgerDocument | undefined;
  readonly blocks: ReadonlyMap<string, BlockDocument>;
  readonly operations: ReadonlyMap<string, OperationDocument>;
  readonly allocations: readonly AllocationDocument[];
  readonly leases: readonly LeaseDocument[];
  /** Its ledger has not told yet what the last answered order did to it: decisions wait. */
  readonly isBehind: boolean;
  /** The agent reports now; otherwise this is what it told last. */
  readonly isLive: boolean;
}

/** The blocks of the fleet. */
export interface FleetBlocks {
  /** Undefined for a cluster that never told of blocks. */
  of(clusterId: string): ClusterBlocks | undefined;
  /** All clusters that told of blocks, in the order of their ids. */
  all(): readonly ClusterBlocks[];
  /** Clusters whose agents know a block of this id. */
  withBlock(blockId: string): readonly ClusterBlocks[];
  /** Calls back, coalesced, with the cluster whose blocks changed; gives the function that ends that. */
  onChange(listener: (clusterId: string) => void): () => void;
}
