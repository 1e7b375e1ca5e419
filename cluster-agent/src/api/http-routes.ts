import {
  addScrapeRoute,
  addTokenRoutes,
  BerthError,
  type createHttpServer,
  type Enrolment,
  type Principal,
  type ScrapeRegistry,
  toBerthError,
} from "@berth/service-kit";
import { dryRun } from "../actions/dry-run.ts";
import type { OperationBook } from "../actions/operation-book.ts";
import type { OperationRunner } from "../actions/operation-runner.ts";
import { isOrphan } from "../actions/orphans.ts";
import type { Placer } from "../allocator/placer.ts";
import type { ResourceAllocator } from "../allocator/resource-allocator.ts";
import type { BlockBook } from "../blocks/block-book.ts";
import type { ObservedFacts } from "../blocks/block-document.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { isOpenNode } from "../nodes/node-view.ts";
import { policyMetrics } from "../prechecks/policy-metrics.ts";
import type { PreChecker } from "../prechecks/pre-checker.ts";
import type { VerdictLog } from "../prechecks/verdict-log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { nodeStatus } from "../telemetry/node-status.ts";
import { addActionRoutes } from "./action-routes.ts";
import { addBlockRoutes } from "./block-routes.ts";
import { addClusterActionRoutes } from "./cluster-action-routes.ts";
import { addClusterDataRoutes } from "./cluster-data-routes.ts";
import { ClusterGovernor } from "./cluster-governor.ts";
import { ActionGovernor } from "./governed-action.ts";
import { addLaterRoutes } from "./later-routes.ts";
import { addLeaseRoutes } from "./lease-routes.ts";
import { addLedgerRoutes } from "./ledger-routes.ts";
import type { CallerFence } from "./link-calls.ts";
import { addMetricsRoutes } from "./metrics-routes.ts";
import { addNodeRoutes } from "./node-routes.ts";
import { addOperationRoutes } from "./operation-routes.ts";
import { addPrecheckRoutes } from "./precheck-routes.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What the routes of blocks serve from. */
export interface BlockParts {
  readonly book: BlockBook;
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly placer: Placer;
  readonly allocator: ResourceAllocator;
  readonly operations: OperationRunner;
  readonly operationBook: OperationBook;
  readonly observed: { readonly byId: ReadonlyMap<string, ObservedFacts> };
}

/** What {@link addHttpRoutes} serves from. */
export interface HttpRoutesOptions {
  readonly cluster: Cluster;
  /** What runs blocks; undefined when this agent runs none. */
  readonly blocks: BlockParts | undefined;
  readonly nodes: NodeRegistry;
  readonly prechecks: {
    readonly checker: PreChecker;
    readonly verdicts: VerdictLog;
    /** `config.actionsPolicyMap` as it is now. */
    readonly policyMap: () => unknown;
  };
  /** Forgets an empty node, and refuses it from then on. */
  readonly retireNode: (nodeId: string, operationId: string) => Promise<void>;
  /** Tokens and keys of node-agents. */
  readonly enrolment: Enrolment;
  /** State of the link to the control-plane, for `/readyz`. */
  readonly link: () => object;
  /** Whether node-agents can dial in. */
  readonly nodePortOpen: () => boolean;
  /** Resolves when the store answers. */
  readonly checkStore: () => Promise<unknown>;
  /** What `GET /metrics` answers. */
  readonly scraped: ScrapeRegistry;
  /** Store and term in whose name a request is made; undefined for a client of the port. */
  readonly fenceOf: (principal: Principal) => CallerFence | undefined;
}

/** Where the controller's own routes answer: at the root and below `urlMap.controllerService`. */
const CONTROLLER_PREFIXES = ["", "/controller"];

/** Adds the routes of the cluster's REST surface to a server. */
export function addHttpRoutes(server: HttpServer, options: HttpRoutesOptions): void {
  for (const prefix of CONTROLLER_PREFIXES) addControllerRoutes(server, prefix, options);
  addMetricsRoutes(server, options);
  addLaterRoutes(server);
  if (options.blocks !== undefined) addRoutesOfBlocks(server, options, options.blocks);
  addScrapeRoute(server, options.scraped);
  addHealthRoutes(server, options);
  addRoutesOfNodes(server, options);
  const { checker, verdicts, policyMap } = options.prechecks;
  addPrecheckRoutes(server, { prechecks: checker, verdicts, policyMap });
  addTokenRoutes(server, { enrolment: options.enrolment, subjectField: "node_id" });
}

function addRoutesOfNodes(server: HttpServer, options: HttpRoutesOptions): void {
  const { cluster, nodes, enrolment, blocks, prechecks, retireNode } = options;
  const instancesOn = (nodeId: string) => {
    const holds = blocks?.ledger.holds({ kind: "allocation", nodeId }) ?? [];
    return holds.flatMap((hold) => {
      if (hold.kind !== "allocation") return [];
      const { blockId, instanceId } = hold.purpose;
      return [{ blockId, instanceId, nodeId }];
    });
  };
  const governor = new ClusterGovernor({
    ...{ clusterId: cluster.id, prechecks: prechecks.checker, instancesOn },
    clusterDocument: () => cluster.document(),
    clusterMetrics: () => policyMetrics(cluster.metrics()),
  });
  addNodeRoutes(server, { nodes, enrolment, governor, instancesOn });
  const { operations } = blocks ?? {};
  addClusterActionRoutes(server, { cluster, nodes, governor, operations, retire: retireNode });
  addClusterDataRoutes(server, { cluster, nodes, governor });
}

function addRoutesOfBlocks(
  server: HttpServer,
  { cluster, fenceOf, prechecks }: HttpRoutesOptions,
  blocks: BlockParts,
): void {
  const { book, ledger, runtime, placer, allocator, operations, operationBook, observed } = blocks;
  const governor = new ActionGovernor({
    ...{ prechecks: prechecks.checker, blocks: book },
    clusterDocument: () => cluster.document(),
    clusterMetrics: () => policyMetrics(cluster.metrics()),
    scene: () => ({
      blocks: book.blocks(),
      instancesOf: (blockId) => book.instances(blockId),
      observed: observed.byId,
      cluster: cluster.document(),
    }),
  });
  addBlockRoutes(server, {
    ...{ blocks: book, governor, runtime },
    clusterDocument: () => cluster.document(),
    observed: () => observed.byId,
  });
  addActionRoutes(server, {
    ...{ clusterId: cluster.id, operations, runtime, fenceOf, governor },
    dryRun: (fields, signal) => dryRun(fields, { placer, allocator, runtime }, signal),
  });
  addOperationRoutes(server, { book: operationBook, operations });
  const known = { blocks: book, operations: operationBook };
  addLedgerRoutes(server, { ledger, isOrphan: (hold) => isOrphan(hold, known) });
  addLeaseRoutes(server, { ledger, placer, fenceOf });
}

function addControllerRoutes(
  server: HttpServer,
  prefix: string,
  { nodes }: HttpRoutesOptions,
): void {
  server.get(`${prefix}/healthy_nodes`, async () => ({
    success: true,
    nodes: nodes
      .views()
      .filter(isOpenNode)
      .map((node) => node.id),
  }));
  server.get(`${prefix}/nodes_status`, async () => ({
    success: true,
    nodes_status: nodes.views().map(nodeStatus),
  }));
}

function addHealthRoutes(server: HttpServer, options: HttpRoutesOptions): void {
  server.get("/healthz", async () => ({ success: true }));
  server.get("/readyz", async () => {
    const link = options.link();
    if (!options.nodePortOpen()) {
      throw new BerthError("UNAVAILABLE", "the node port is not open", { details: { link } });
    }
    try {
      await options.checkStore();
    } catch (cause) {
      const { message } = toBerthError(cause);
      const details = { link };
      throw new BerthError("UNAVAILABLE", `the store does not answer: ${message}`, {
        cause,
        details,
      });
    }
    return { success: true, link };
  });
}
