import path from "node:path";
import {
  type BlockSharing,
  type ClusterAgentOptions,
  openBlockSharing,
} from "@berth/cluster-agent";
import {
  type Clock,
  type Config,
  createHttpServer,
  formatToken,
  type Logger,
  listening,
  loopbackAuthenticator,
  newSecret,
  type Part,
} from "@berth/service-kit";
import { addSimRoutes } from "./api/sim-routes.ts";
import { FaultDirector } from "./faults/fault-director.ts";
import { fleetParts } from "./fleet/fleet-parts.ts";
import {
  clusterIdOf,
  type FleetIntervals,
  type FleetSize,
  fleetIntervals,
  parseFleetSize,
} from "./fleet/fleet-plan.ts";
import { type FleetState, openFleetState } from "./fleet/fleet-state.ts";
import { SimCluster } from "./fleet/sim-cluster.ts";
import { quietLogger } from "./quiet-logger.ts";
import type { settings } from "./settings.ts";
import {
  loadMachine,
  type MachineName,
  type MachineProfile,
  machineOf,
} from "./sources/profile.ts";
import { Wheel } from "./sources/wheel.ts";

/** What a simulated fleet is made from. */
export interface SimulatorOptions {
  readonly config: Config<typeof settings>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The simulator's process, for local processes of blocks; absent: the fleet runs no blocks. */
  readonly process?: ClusterAgentOptions["process"];
}

/** A composed fleet: its parts in start order, and what a process that holds it may look at. */
export interface Simulator {
  readonly parts: readonly Part[];
  readonly clusters: readonly SimCluster[];
  readonly faults: FaultDirector;
  /** The simulator's own REST surface. */
  readonly http: ReturnType<typeof createHttpServer>;
}

const ORG_ID = "default_org";

/**
 * Puts a fleet together and counts its start; rejects when a recording cannot be read, or its directory not be
 * written. Nothing runs before its parts are started.
 */
export async function composeSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { config, logger } = options;
  const { name, seed, host, port } = config;
  const size = parseFleetSize(config.fleet);
  const intervals = fleetIntervals(size, config.intervalMs);
  const fleetState = await openFleetState(config.dataDir, name);
  const wheel = new Wheel({ clock: options.clock, logger });
  const sharing = openSharing(options);
  const clusters = await composeClusters(options, { size, intervals, fleetState, wheel, sharing });
  const faults = new FaultDirector({ clusters, name, size, seed, script: config.faults, logger });
  const http = createHttpServer({
    origins: { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins },
    authenticate: loopbackAuthenticator(ORG_ID),
    logger,
  });
  addSimRoutes(http, { name, size, intervals, clusters, faults });
  const address = { host, port, setting: "BERTH_SIM_PORT" };
  const parts = [
    listening(http, address, "http"),
    sharing.part,
    wheel,
    ...fleetParts(clusters),
    faults,
  ];
  return { parts, clusters, faults, http };
}

/** Instances end with the fleet: nobody else could stop them, and its directory may be thrown away. */
function openSharing({ config, logger }: SimulatorOptions): BlockSharing {
  const { sandboxDir, dataDir } = config;
  return openBlockSharing({
    sandboxDir: sandboxDir === "" ? path.join(dataDir, "sandbox") : sandboxDir,
    endsInstances: true,
    logger: quietLogger(logger),
  });
}

async function composeClusters(
  { config, clock, logger, process: own }: SimulatorOptions,
  fleet: {
    readonly size: FleetSize;
    readonly intervals: FleetIntervals;
    readonly fleetState: FleetState;
    readonly wheel: Wheel;
    readonly sharing: BlockSharing;
  },
): Promise<SimCluster[]> {
  const { size, intervals, fleetState, wheel, sharing } = fleet;
  const { name: fleetName, profile, seed, load: pattern, host } = config;
  const { controlPlaneUrl, enrolmentToken, caFile } = config;
  const machines = new Map<MachineName, MachineProfile>();
  const nodeToken = formatToken({ secret: newSecret() });
  const bornMs = clock.nowMs();
  const clusters: SimCluster[] = [];
  for (let index = 0; index < size.clusters; index += 1) {
    const name = machineOf(profile, index);
    const machine = machines.get(name) ?? (await loadMachine(name));
    machines.set(name, machine);
    const clusterId = clusterIdOf(fleetName, index);
    clusters.push(
      new SimCluster({
        ...{ clusterId, index, machine, pattern, seed, intervals, bornMs, host, clock },
        ...{ fleetState, wheel, sharing, process: own },
        ...{ controlPlaneUrl, enrolmentToken, caFile, nodeToken },
        nodes: size.nodesPerCluster,
        gpusPerNode: size.gpusPerNode,
        phase: index / size.clusters,
        dataDir: path.join(config.dataDir, clusterId),
        openPorts: config.clusterPorts === "open",
        logger: quietLogger(logger).child({ cluster: clusterId }),
      }),
    );
  }
  return clusters;
}
