import { portUrl, type UpSettings } from "../up/environment.ts";
import { DEFAULT_SIM_PORT } from "./free-sim-port.ts";
import { DEFAULT_SIM_NAME } from "./sim-options.ts";
import type { SimFleet } from "./sim-readiness.ts";

/** What the summary of a simulated fleet is made of. */
export interface SimSummaryFacts {
  readonly settings: UpSettings;
  readonly fleet: SimFleet;
  /** Time from the start to ready. */
  readonly tookMs: number;
}

/** The lines that are printed when a simulated fleet is ready. */
export function renderSimSummary({ settings, fleet, tookMs }: SimSummaryFacts): string[] {
  const { host, sim } = settings;
  const name = sim?.name ?? DEFAULT_SIM_NAME;
  const isOwn = sim?.joins === undefined;
  const rows: [string, string][] = [
    ...(isOwn
      ? ([
          ["REST", portUrl(host, settings.httpPort)],
          ["WebSocket", portUrl(host, settings.wsPort, "ws")],
        ] as [string, string][])
      : ([["control-plane", sim.joins.agentUrl]] as [string, string][])),
    ["simulator", portUrl(host, sim?.port ?? 0)],
    ["fleet", fleetText(fleet)],
    ["cluster ids", idsText(name, fleet.clusters)],
    ["GPUs sample", `every ${fleet.gpuIntervalMs / 1_000} s`],
    ["data directory", settings.dataDir],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  const server =
    isOwn && settings.httpPort !== 8000 ? ` --server ${portUrl(host, settings.httpPort)}` : "";
  const flag =
    sim?.port === DEFAULT_SIM_PORT ? "" : ` --sim-server ${portUrl(host, sim?.port ?? 0)}`;
  return [
    "",
    `Berth is ready (${(tookMs / 1000).toFixed(1)} s)`,
    ...rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`),
    "",
    "Try next, in another terminal:",
    `  npx berth top${server}`,
    `  npx berth sim fault gpu-fail ${name}-0/node-0/0 60s${flag}`,
    "",
    "Ctrl-C stops the fleet.",
  ];
}

/** "3 simulated clusters, 12 nodes, 96 GPUs". */
export function fleetText({ clusters, nodes, gpus }: SimFleet): string {
  return `${plural(clusters, "simulated cluster")}, ${plural(nodes, "node")}, ${plural(gpus, "GPU")}`;
}

/** "sim-0 to sim-2". */
function idsText(name: string, clusters: number): string {
  return clusters === 1 ? `${name}-0` : `${name}-0 to ${name}-${clusters - 1}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
