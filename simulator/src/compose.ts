import path from "node:path";
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
import { clusterIdOf, type FleetIntervals, fleetIntervals } from "./fleet/fleet-plan.ts";
import { SimCluster } from "./fleet/sim-cluster.ts";
import { quietLogger } from "./quiet-logger.ts";
import type { settings } from "./settings.ts";
import {
  loadMachine,
  type MachineName,
  type MachineProfile,
  machineOf,
} from "./sources/profile.ts";

/** What a simulated fleet is made from. */
export interface SimulatorOptions {
  readonly config: Config<typeof settings>;
  readonly clock: Clock;
  readonly logger: Logger;
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

/** Puts a fleet together; rejects when a recording cannot be read. Nothing runs before its parts are started. */
export async function composeSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { config, logger } = options;
  const { fleet: size, seed, host, port } = config;
  const intervals = fleetIntervals(size, config.intervalMs);
  const clusters = await composeClusters(options, intervals);
  const faults = new FaultDirector({ clusters, size, seed, script: config.faults, logger });
  const http = createHttpServer({
    origins: { allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins },
    authenticate: loopbackAuthenticator(ORG_ID),
    logger,
  });
  addSimRoutes(http, { size, intervals, clusters, faults });
  const address = { host, port, setting: "BERTH_SIM_PORT" };
  return { parts: [listening(http, address, "http"), ...clusters, faults], clusters, faults, http };
}

async function composeClusters(
  { config, clock, logger }: SimulatorOptions,
  intervals: FleetIntervals,
): Promise<SimCluster[]> {
  const { fleet: size, profile, seed, load: pattern, host } = config;
  const { controlPlaneUrl, enrolmentToken, caFile } = config;
  const machines = new Map<MachineName, MachineProfile>();
  const nodeToken = formatToken({ secret: newSecret() });
  const bornMs = clock.nowMs();
  const clusters: SimCluster[] = [];
  for (let index = 0; index < size.clusters; index += 1) {
    const name = machineOf(profile, index);
    const machine = machines.get(name) ?? (await loadMachine(name));
    machines.set(name, machine);
    const clusterId = clusterIdOf(index);
    clusters.push(
      new SimCluster({
        ...{ clusterId, index, machine, pattern, seed, intervals, bornMs, host, clock },
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
