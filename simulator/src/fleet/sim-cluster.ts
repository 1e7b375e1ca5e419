import {
  type BlockSharing,
  type ClusterAgent,
  type ClusterAgentOptions,
  composeClusterAgent,
} from "@berth/cluster-agent";
import { type Clock, type Logger, type Part, startAll, stopAll } from "@berth/service-kit";
import type { LoadPattern } from "../sources/load-pattern.ts";
import type { MachineProfile } from "../sources/profile.ts";
import type { Wheel } from "../sources/wheel.ts";
import { clusterPorts, type FleetIntervals, nodeIdOf } from "./fleet-plan.ts";
import type { FleetState } from "./fleet-state.ts";
import { freePortOr0 } from "./free-port.ts";
import { LinkGate } from "./link-gate.ts";
import { nodeDoor } from "./node-door.ts";
import { SimNode } from "./sim-node.ts";

/** What a {@link SimCluster} is made from. */
export interface SimClusterOptions {
  readonly clusterId: string;
  /** Number of the cluster in the fleet. */
  readonly index: number;
  readonly nodes: number;
  readonly gpusPerNode: number;
  readonly machine: MachineProfile;
  /** Load at first. */
  readonly pattern: LoadPattern;
  readonly seed: number;
  readonly intervals: FleetIntervals;
  /** Share of an interval by which this cluster samples later than the first one, in [0, 1). */
  readonly phase: number;
  readonly bornMs: number;
  /** Directory of this cluster alone. */
  readonly dataDir: string;
  readonly host: string;
  readonly openPorts: boolean;
  readonly controlPlaneUrl: string;
  readonly enrolmentToken: string;
  readonly caFile: string;
  /** Enrolment token that the nodes show to the cluster-agent. */
  readonly nodeToken: string;
  readonly fleetState: FleetState;
  readonly wheel: Wheel;
  /** What the clusters run blocks with together. */
  readonly sharing: BlockSharing;
  /** The simulator's process, for local processes of blocks; undefined: the cluster runs none. */
  readonly process: ClusterAgentOptions["process"];
  readonly clock: Clock;
  readonly logger: Logger;
}

const REGION = "simulated";
const TAGS = ["simulated"];
/** Nodes that start at the same time. */
const STARTS_AT_ONCE = 16;
/** Nodes of a cluster sample within this time, so that its aggregates change together. */
const SPREAD_MS = 1_000;
const PORT_PARTS = new Set(["node port", "http"]);
const LINK_PART = "control-plane link";

/** One simulated cluster: a real cluster-agent with its own store, its nodes, and a gate in its link. */
export class SimCluster implements Part {
  readonly name: string;
  readonly id: string;
  readonly nodes: readonly SimNode[];
  readonly gate: LinkGate;
  /** How its GPUs are used from now on. */
  load: LoadPattern;
  readonly #options: SimClusterOptions;
  #agent: ClusterAgent | undefined;
  #started: Part[] = [];

  constructor(options: SimClusterOptions) {
    const { clusterId, controlPlaneUrl, host } = options;
    this.id = clusterId;
    this.name = `cluster ${clusterId}`;
    this.#options = options;
    this.load = options.pattern;
    this.gate = new LinkGate({ target: controlPlaneUrl, host });
    this.nodes = Array.from({ length: options.nodes }, (_none, node) => this.#node(node));
  }

  /** Whether the control-plane link is up. */
  get isLinked(): boolean {
    return this.#agent?.link().state === "up";
  }

  /** The agent's REST surface; undefined while it is closed. */
  get httpUrl(): string | undefined {
    return this.#options.openPorts ? this.#agent?.httpUrl() : undefined;
  }

  /**
   * Starts the agent, then its nodes, then the link: the control-plane hears of a cluster that is whole,
   * not of each node that joins it.
   */
  async start(): Promise<void> {
    const { logger } = this.#options;
    await this.#begin(this.gate);
    const agent = await this.#compose();
    this.#agent = agent;
    const link = agent.parts.filter((part) => part.name === LINK_PART);
    const others = agent.parts.filter((part) => !link.includes(part) && this.#isOpened(part));
    await startAll(others, logger);
    this.#started.push(...others);
    await this.#startNodes(agent);
    for (const part of link) await this.#begin(part);
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await stopAll(this.#started.splice(0), this.#options.logger);
  }

  async #begin(part: Part): Promise<void> {
    this.#started.push(part);
    await part.start();
  }

  #isOpened(part: Part): boolean {
    return this.#options.openPorts || !PORT_PARTS.has(part.name);
  }

  async #compose(): Promise<ClusterAgent> {
    const { clock, logger, intervals, clusterId, dataDir, host } = this.#options;
    const { enrolmentToken, caFile, nodeToken, sharing, process: own } = this.#options;
    const ports = await this.#ports();
    const agent = await composeClusterAgent({
      config: {
        dataDir,
        host,
        httpPort: ports.http,
        nodePort: ports.node,
        controlPlaneUrl: this.gate.url,
        enrolmentToken,
        caFile,
        nodeHost: "",
        nodeNames: [],
        localToken: nodeToken,
        clusterId,
        regionId: REGION,
        clusterTags: TAGS,
        sandboxDir: "",
        nodeTtlMs: intervals.ttlMs,
        allowedHosts: [],
        allowedOrigins: [],
      },
      clock,
      logger,
      sampling: { gpuMs: intervals.gpuMs, hostMs: intervals.hostMs },
      // 10,000 nodes that join are 20,000 commits; no power cut takes more than a simulation.
      durability: "process",
      ...(own === undefined ? {} : { process: own, blockSharing: sharing }),
    });
    if (agent.cluster.document().clusterMetadata.simulated !== true) {
      await agent.cluster.update({ $set: { "clusterMetadata.simulated": true } });
    }
    return agent;
  }

  /** The ports that the cluster has by its number; any where another program has one of them. */
  async #ports(): Promise<{ readonly http: number; readonly node: number }> {
    const { host, index, openPorts, logger, clusterId } = this.#options;
    if (!openPorts) return { http: 0, node: 0 };
    const wanted = clusterPorts(index);
    const [http, node] = await Promise.all([
      freePortOr0(host, wanted.http),
      freePortOr0(host, wanted.node),
    ]);
    if (http === 0 || node === 0) {
      logger.warn("a port is taken by another program; the system chooses another one", {
        cluster: clusterId,
        ...wanted,
      });
    }
    return { http, node };
  }

  async #startNodes(agent: ClusterAgent): Promise<void> {
    const door = nodeDoor(agent.nodeRoutes);
    const waiting = this.nodes.values();
    const startOneByOne = async () => {
      for (const node of waiting) await node.start(door);
    };
    await Promise.all(Array.from({ length: STARTS_AT_ONCE }, startOneByOne));
  }

  #node(node: number): SimNode {
    const { clusterId, nodes, nodeToken, gpusPerNode, machine, intervals, phase } = this.#options;
    const { seed, bornMs, clock, logger, wheel, fleetState } = this.#options;
    const pattern = () => this.load;
    const nodeId = nodeIdOf(clusterId, node);
    const spreadMs = Math.min(SPREAD_MS, intervals.gpuMs);
    return new SimNode({
      ...{ nodeId, machine, pattern, seed, bornMs, clock, wheel, fleetState },
      logger: logger.child({ node: nodeId }),
      enrolmentToken: nodeToken,
      gpuCount: gpusPerNode,
      phaseMs: phase * intervals.gpuMs + (node / nodes) * spreadMs,
    });
  }
}
