import path from "node:path";
import { DEFAULT_LIMITS, PolicyContexts } from "@berth/policy-sandbox";
import type { Clock, DocumentStore, Logger, Part } from "@berth/service-kit";
import { type BlockActionDeps, createBlock } from "../actions/create-block.ts";
import { type DrainDeps, drainNode } from "../actions/drain-node.ts";
import { InstanceCrew } from "../actions/instance-crew.ts";
import { ObservedInstances } from "../actions/observed-instances.ts";
import type { Actions } from "../actions/operation.ts";
import { type OperationBook, openOperationBook } from "../actions/operation-book.ts";
import { OperationRunner } from "../actions/operation-runner.ts";
import { reassignInstance } from "../actions/reassign-instance.ts";
import { Reconciler } from "../actions/reconciler.ts";
import { removeBlock } from "../actions/remove-block.ts";
import { removeInstance, scaleBlock } from "../actions/scale-block.ts";
import { updateParameters } from "../actions/update-parameters.ts";
import { nodeCapacity } from "../allocator/node-capacity.ts";
import { Placer } from "../allocator/placer.ts";
import { ResourceAllocator } from "../allocator/resource-allocator.ts";
import type { BlockBook } from "../blocks/block-book.ts";
import { openBlockBook } from "../blocks/open-block-book.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { openBootClock } from "../ledger/boot-clock.ts";
import { type Ledger, openLedger } from "../ledger/ledger.ts";
import type { TakenState } from "../nodes/gpu-verdict.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { periodic } from "../periodic.ts";
import { AgentPolicies } from "../policies/agent-policies.ts";
import { type FetchPolicy, PolicySource } from "../policies/policy-source.ts";
import type { OwnProcess } from "../runtime/process/process-deps.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type BlockSharing, openBlockSharing } from "./block-sharing.ts";
import { composeRuntime } from "./compose-runtime.ts";
import type { RuntimeConfig } from "./runtime-options.ts";

/** What the part of an agent that runs blocks is made from. */
export interface BlocksOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clusterId: string;
  /** The agent's own directory. */
  readonly dataDir: string;
  readonly nodes: NodeRegistry;
  readonly cluster: Cluster;
  /** Asks the control-plane for policies. */
  readonly fetchPolicy: FetchPolicy;
  /** Directory of the policy sandbox. */
  readonly sandboxDir: string;
  /** The agent's process. */
  readonly process: OwnProcess;
  /** What they run on; undefined: processes of this machine. */
  readonly runtime: RuntimeConfig | undefined;
  /** What it shares with other agents of its process; its own when undefined. */
  readonly shared: BlockSharing | undefined;
  /** First revision of the ledger: rises over starts. */
  readonly revisionBase: bigint;
  /** Store of the control-plane that is obeyed; undefined until one was. */
  readonly obeyedStoreId: () => string | undefined;
  /** Forgets an empty node, and refuses it from then on. */
  readonly retireNode: DrainDeps["retire"];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What runs blocks, composed. */
export interface Blocks {
  /** In start order; behind the store and the nodes. */
  readonly parts: readonly Part[];
  readonly book: BlockBook;
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly placer: Placer;
  readonly allocator: ResourceAllocator;
  readonly observed: ObservedInstances;
  readonly operations: OperationRunner;
  readonly operationBook: OperationBook;
  readonly policies: AgentPolicies;
  /** Tells the nodes what the ledger says of their GPUs; to be called often. */
  readonly showTaken: () => void;
}

/** Void leases are struck out so often, ms. */
const LEASE_SWEEP_MS = 1_000;

/** Puts together what runs blocks on local processes: ledger, allocator, operations. */
export async function composeBlocks(options: BlocksOptions): Promise<Blocks> {
  const { store, orgId, clusterId, clock, logger, nodes } = options;
  const ledger = await openLedger({
    ...{ store, orgId, clock, logger },
    capacity: (nodeId) => {
      const view = nodes.view(nodeId);
      return view && nodeCapacity(view);
    },
    bootClock: await openBootClock(),
    obeyedStoreId: options.obeyedStoreId,
    revisionBase: options.revisionBase,
  });
  const book = await openBlockBook({ store, orgId, clock, logger });
  const operationBook = await openOperationBook({ store, orgId, logger });
  const own = { sandboxDir: options.sandboxDir, endsInstances: false, logger };
  const shared = options.shared ?? openBlockSharing(own);
  const { sandbox, table, endsInstances } = shared;
  const { runtime, parts: runtimeParts } = await composeRuntime({
    ...{ config: options.runtime, process: options.process, clusterId, clock, logger },
    processes: { dataDir: path.join(options.dataDir, "processes"), table, endsInstances },
    onNodes: (reported) => nodes.takeReported(reported),
  });
  const contexts = new PolicyContexts({ store, logger });
  const source = new PolicySource({ store, orgId, fetch: options.fetchPolicy, clock, logger });
  const policies = new AgentPolicies({ orgId, source, sandbox, contexts, caps: DEFAULT_LIMITS });
  const placer = new Placer({ nodes, ledger });
  const allocator = new ResourceAllocator({ placer, policies, cluster: options.cluster, nodes });
  const crewDeps = { ledger, runtime, blocks: book, placer, allocator, clock };
  const crew = new InstanceCrew(crewDeps);
  const about = { ledger, runtime, blocks: book, crew, logger };
  const reconciler = new Reconciler({ ...about, operations: operationBook, nodes });
  const drainDeps: DrainDeps = {
    ...{ ledger, blocks: book, crew, clock },
    roster: nodes.roster,
    runner: {
      accept: (request) => operations.accept(request),
      get: (id) => operationBook.get(id),
      childrenOf: (id) => operationBook.list().filter(({ parentId }) => parentId === id),
    },
    retire: options.retireNode,
  };
  const operations: OperationRunner = new OperationRunner({
    book: operationBook,
    actions: actionsOf({ ...crewDeps, crew }, drainDeps),
    ready: (signal) => reconciler.ready(signal),
    ...{ clock, logger },
  });
  const observed = new ObservedInstances(runtime, logger);
  const sweep = periodic("lease sweep", {
    intervalMs: LEASE_SWEEP_MS,
    task: () => void ledger.sweep(),
    logger,
  });
  return {
    parts: [
      contexts,
      ...(options.shared === undefined ? [shared.part] : []),
      ...runtimeParts,
      observed,
      reconciler,
      operations,
      sweep,
    ],
    showTaken: takenTeller(ledger, nodes),
    ...{ book, ledger, runtime, placer, allocator, observed, operations, operationBook, policies },
  };
}

function actionsOf(deps: BlockActionDeps, drainDeps: DrainDeps): Actions {
  return {
    create_block: createBlock(deps),
    remove_block: removeBlock(deps),
    scale: scaleBlock(deps),
    remove_instance: removeInstance(deps),
    parameter_update: updateParameters(deps),
    "reassign-instances": reassignInstance(deps),
    "remove-node": drainNode(drainDeps),
  };
}

/** Tells each node whose GPUs are held otherwise than before. */
function takenTeller(ledger: Ledger, nodes: NodeRegistry): () => void {
  let shown: string | undefined;
  return () => {
    const version = `${ledger.status.revision}/${nodes.structureVersion}`;
    if (version === shown) return;
    for (const { id } of nodes.views()) {
      const taken = new Map<string, TakenState>();
      for (const { uuid, kind, state } of ledger.node(id).devices) {
        if (kind === "gpu" && state !== "free") taken.set(uuid, state);
      }
      nodes.setTaken(id, taken);
    }
    shown = `${ledger.status.revision}/${nodes.structureVersion}`;
  };
}
