import { resolve } from "node:path";
import { usageError } from "../cli-error.ts";
import type { UpSettings } from "./environment.ts";

/** The options of `berth up` as given on the command line. */
export interface UpOptions {
  readonly dataDir?: string;
  readonly httpPort?: string;
  readonly wsPort?: string;
  readonly agentPort?: string;
  readonly clusterPort?: string;
  readonly nodePort?: string;
  /** False with `--no-alias-ports`. */
  readonly aliasPorts?: boolean;
  readonly agentHost?: string;
  readonly nodeHost?: string;
  readonly clusterId?: string;
  readonly nodeId?: string;
  readonly verbose?: boolean;
}

/** Flag, variable and default of each port. */
const PORTS = {
  httpPort: ["--http-port", "BERTH_HTTP_PORT", 8000],
  wsPort: ["--ws-port", "BERTH_WS_PORT", 8765],
  agentPort: ["--agent-port", "BERTH_AGENT_PORT", 7443],
  clusterPort: ["--cluster-port", "BERTH_CLUSTER_PORT", 32_000],
  nodePort: ["--node-port", "BERTH_NODE_PORT", 32_001],
} as const;

type PortName = keyof typeof PORTS;

/** Variable and default of the control-plane's alias ports. */
const ALIAS_PORTS = [
  ["BERTH_CLUSTERS_ALIAS_PORT", 3000],
  ["BERTH_METRICS_ALIAS_PORT", 8888],
  ["BERTH_SUBJECT_METRICS_ALIAS_PORT", 8891],
  ["BERTH_SUBJECTS_ALIAS_PORT", 8892],
  ["BERTH_AUTOSCALE_ALIAS_PORT", 5000],
  ["BERTH_ADHOC_ALIAS_PORT", 6789],
] as const;

/**
 * Settings of `berth up`: the option, else the variable of the same name, else the default. Throws
 * a usage error that names the option for bad ports and for a port that is given twice.
 */
export function upSettings(
  options: UpOptions,
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): UpSettings {
  const from = (option: string | undefined, name: string) => option ?? (env[name] || undefined);
  const port = (name: PortName) => {
    const [flag, variable, fallback] = PORTS[name];
    return parsePort(flag, from(options[name], variable) ?? String(fallback));
  };
  const ports: Record<PortName, number> = {
    httpPort: port("httpPort"),
    wsPort: port("wsPort"),
    agentPort: port("agentPort"),
    clusterPort: port("clusterPort"),
    nodePort: port("nodePort"),
  };
  refuseSamePorts(ports);
  if (options.dataDir === "") throw usageError("--data-dir: expected a directory, got nothing");
  const agentHost = from(options.agentHost, "BERTH_AGENT_HOST");
  const nodeHost = from(options.nodeHost, "BERTH_NODE_HOST");
  const nodeId = from(options.nodeId, "BERTH_NODE_ID");
  return {
    dataDir: resolve(cwd, from(options.dataDir, "BERTH_DATA_DIR") ?? ".berth"),
    host: from(undefined, "BERTH_HOST") ?? "127.0.0.1",
    ...ports,
    ...aliasChoice(options, ports, env),
    ...metricsChoice(ports, env),
    ...(agentHost === undefined ? {} : { agentHost }),
    ...(nodeHost === undefined ? {} : { nodeHost }),
    clusterId: from(options.clusterId, "BERTH_CLUSTER_ID") ?? "local",
    ...(nodeId === undefined ? {} : { nodeId }),
    verbose: options.verbose ?? false,
  };
}

/**
 * Off where the user says so, and where an alias would take a port that one of the programs is to have: the
 * control-plane starts first.
 */
function aliasChoice(
  { aliasPorts }: UpOptions,
  ports: Readonly<Record<PortName, number>>,
  env: Readonly<Record<string, string | undefined>>,
): Pick<UpSettings, "aliasPorts"> {
  if (aliasPorts === false) return { aliasPorts: "off" };
  const taken = Object.values(ports);
  const aliases = ALIAS_PORTS.map(([name, fallback]) => Number(env[name] || fallback));
  return aliases.some((port) => taken.includes(port)) ? { aliasPorts: "off" } : {};
}

/**
 * The node-agent's metrics have one port by default. A fleet that is not on the default HTTP port is the second of
 * its machine, as the control-plane judges too before it opens alias ports, and leaves it to the first.
 */
function metricsChoice(
  { httpPort }: Readonly<Record<PortName, number>>,
  env: Readonly<Record<string, string | undefined>>,
): Pick<UpSettings, "metricsPort"> {
  return httpPort === PORTS.httpPort[2] || env.BERTH_METRICS_PORT ? {} : { metricsPort: 0 };
}

function parsePort(flag: string, text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw usageError(`${flag} ${JSON.stringify(text)}: expected a port from 1 to 65535`);
}

function refuseSamePorts(ports: Readonly<Record<PortName, number>>): void {
  const seen = new Map<number, string>();
  for (const [name, port] of Object.entries(ports)) {
    const flag = PORTS[name as PortName][0];
    const other = seen.get(port);
    if (other !== undefined) {
      throw usageError(`${other} and ${flag} are both ${port}: expected different ports`);
    }
    seen.set(port, flag);
  }
}
