import { BerthError, bodyObject, type createHttpServer, parse } from "@berth/service-kit";
import { Type } from "typebox";
import { parseFault } from "../faults/fault.ts";
import type { FaultDirector } from "../faults/fault-director.ts";
import { type FleetIntervals, type FleetSize, fleetText } from "../fleet/fleet-plan.ts";
import type { SimCluster } from "../fleet/sim-cluster.ts";
import { LOAD_PATTERNS } from "../sources/load-pattern.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** What {@link addSimRoutes} serves from. */
export interface SimRoutesOptions {
  /** Name of the fleet. */
  readonly name: string;
  readonly size: FleetSize;
  readonly intervals: FleetIntervals;
  readonly clusters: readonly SimCluster[];
  readonly faults: FaultDirector;
}

const FaultBody = Type.Object(
  { fault: Type.String({ minLength: 1, maxLength: 200 }) },
  { additionalProperties: false },
);

const LoadBody = Type.Object(
  {
    load: Type.Union(LOAD_PATTERNS.map((pattern) => Type.Literal(pattern))),
    cluster: Type.Optional(Type.String({ description: "this one alone" })),
  },
  { additionalProperties: false },
);

/**
 * The simulator's own surface: `GET /sim` shows the fleet and the faults that stand, `POST /sim/faults` with
 * `{"fault": "gpu-fail sim-0/node-1/3"}` lets one strike, `POST /sim/load` with
 * `{"load": "busy"}` changes how the GPUs are used.
 */
export function addSimRoutes(server: HttpServer, options: SimRoutesOptions): void {
  const { faults } = options;
  server.get("/healthz", async () => ({ success: true }));
  server.get("/sim", async () => ({ success: true, data: overview(options) }));
  server.post("/sim/faults", async (request, reply) => {
    const { fault } = parse(FaultBody, bodyObject(request));
    const ordered = faults.order(readFault(fault));
    reply.code(201);
    return { success: true, data: ordered };
  });
  server.post("/sim/load", async (request) => {
    const { load, cluster } = parse(LoadBody, bodyObject(request));
    const changed = options.clusters.filter(({ id }) => cluster === undefined || id === cluster);
    if (changed.length === 0) {
      throw new BerthError("NOT_FOUND", `cluster: there is no ${JSON.stringify(cluster)}`);
    }
    for (const one of changed) one.load = load;
    return { success: true, data: { load, clusters: changed.map(({ id }) => id) } };
  });
}

function overview({ name, size, intervals, clusters, faults }: SimRoutesOptions) {
  const registered = clusters.map(
    ({ nodes }) => nodes.filter(({ isRegistered }) => isRegistered).length,
  );
  return {
    simulated: true,
    name,
    fleet: fleetText(size),
    clusters: size.clusters,
    clusters_linked: clusters.filter(({ isLinked }) => isLinked).length,
    nodes: size.clusters * size.nodesPerCluster,
    nodes_registered: registered.reduce((sum, count) => sum + count, 0),
    gpus: size.clusters * size.nodesPerCluster * size.gpusPerNode,
    gpu_interval_ms: intervals.gpuMs,
    host_interval_ms: intervals.hostMs,
    node_ttl_ms: intervals.ttlMs,
    cluster_list: clusters.map(({ id, httpUrl, isLinked, load, nodes }, index) => ({
      ...{ id, load },
      http_url: httpUrl ?? null,
      linked: isLinked,
      nodes: nodes.length,
      nodes_registered: registered[index] ?? 0,
    })),
    faults: faults.list(),
  };
}

function readFault(text: string) {
  try {
    return parseFault(text);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("INVALID_ARGUMENT", message, { cause });
  }
}
