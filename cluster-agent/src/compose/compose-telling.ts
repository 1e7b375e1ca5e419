import type { Clock, Logger, Part } from "@berth/service-kit";
import type { Cluster } from "../cluster/cluster.ts";
import type { ClusterTeller } from "../link/cluster-teller.ts";
import type { StateBoard } from "../link/state-board.ts";
import { BlockTeller } from "../telling/block-teller.ts";
import type { Blocks } from "./compose-blocks.ts";

/** What an agent tells of its state, composed. */
export interface Telling {
  /** Behind what it tells of, before the link. */
  readonly parts: readonly Part[];
  /** Puts on the board what has changed. */
  readonly tell: () => void;
}

/** Puts together what tells of the cluster document and, where blocks run, of them. */
export function composeTelling(options: {
  readonly cluster: Cluster;
  /** What runs blocks; undefined when this agent runs none. */
  readonly blocks: Blocks | undefined;
  readonly board: StateBoard;
  readonly teller: ClusterTeller;
  readonly clock: Clock;
  readonly logger: Logger;
}): Telling {
  const { cluster, blocks, board, teller, clock, logger } = options;
  const tellDocument = documentTeller(cluster, teller);
  if (blocks === undefined) return { parts: [], tell: tellDocument };
  const { ledger, book, observed, operationBook, showTaken } = blocks;
  const blockTeller = new BlockTeller({
    ...{ board, ledger, book, observed, operations: operationBook, clock, logger },
    tellCluster() {
      showTaken();
      tellDocument();
    },
  });
  return { parts: [blockTeller], tell: () => blockTeller.tell() };
}

/** Tells the cluster document when it has changed. */
function documentTeller(cluster: Cluster, teller: ClusterTeller): () => void {
  let told = "";
  return () => {
    const version = cluster.documentVersion;
    if (version === told) return;
    told = version;
    teller.tell(JSON.stringify(cluster.document()));
  };
}
