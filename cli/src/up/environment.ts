import type { SimSettings } from "../sim/sim-options.ts";
import type { LinkTokens } from "./data-dir.ts";

/** The programs of one machine's fleet, in the order in which they are started. */
export const PROGRAM_NAMES = ["control-plane", "cluster-agent", "node-agent"] as const;

/** One of {@link PROGRAM_NAMES}, or the simulator, which runs in place of the agents. */
export type ProgramName = (typeof PROGRAM_NAMES)[number] | "simulator";

/** The programs that are run for these settings, in the order in which they are started. */
export function programsOf({ sim }: Pick<UpSettings, "sim">): readonly ProgramName[] {
  if (sim === undefined) return PROGRAM_NAMES;
  return sim.joins === undefined ? ["control-plane", "simulator"] : ["simulator"];
}

/** What the user chose for `berth up`. */
export interface UpSettings {
  /** Absolute path. */
  readonly dataDir: string;
  /** Loopback address that everything binds to. */
  readonly host: string;
  readonly httpPort: number;
  readonly wsPort: number;
  readonly agentPort: number;
  readonly clusterPort: number;
  readonly nodePort: number;
  /**
   * Whether the control-plane also answers on the ports of existing clients; its own choice, which is by the HTTP
   * port, when absent.
   */
  readonly aliasPorts?: "on" | "off";
  /** Port of the node-agent's metrics, 0 for none; what the caller's environment says, else the agent, when absent. */
  readonly metricsPort?: number;
  /** Address of the port that cluster-agents dial, when it is not `host`. */
  readonly agentHost?: string;
  /** Address of the port that node-agents dial, when it is not `host`. */
  readonly nodeHost?: string;
  readonly clusterId: string;
  /** The node-agent's own choice (the host's name) when absent. */
  readonly nodeId?: string;
  /** Whether the programs' log lines are shown on the terminal too. */
  readonly verbose: boolean;
  /** The simulated fleet in place of the machine's own agents. */
  readonly sim?: SimSettings;
}

/** What the environment of the programs is made of. */
export interface EnvironmentSources {
  readonly settings: UpSettings;
  readonly tokens: LinkTokens;
  /** The caller's environment. */
  readonly callerEnv: Readonly<Record<string, string | undefined>>;
}

const PASSED_NAMES = new Set(["PATH", "HOME", "LANG", "TZ"]);
const PASSED_PREFIXES = ["BERTH_", "FAKE_SMI_"];
/** What the supervisor alone decides, for each program. */
const OWN_NAMES = new Set([
  "BERTH_LOCAL_TOKEN",
  "BERTH_ENROLMENT_TOKEN",
  "BERTH_CA_FILE",
  "BERTH_AGENT_HOST",
  "BERTH_NODE_HOST",
  "BERTH_LAUNCHER_PID",
]);
/** Where this machine reaches a port that listens on all addresses. */
const WILDCARDS = new Map([
  ["0.0.0.0", "127.0.0.1"],
  ["::", "::1"],
]);
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** Whether the programs' log, at the level that the caller set, says when they have started. */
export function announcesStart(callerEnv: EnvironmentSources["callerEnv"]): boolean {
  return !["warn", "error", "silent"].includes(callerEnv.BERTH_LOG_LEVEL ?? "");
}

/** Whether only this machine can reach a listener on the address. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** URL of a port: "http://127.0.0.1:8000"; IPv6 addresses get their brackets. */
export function portUrl(host: string, port: number, scheme = "http"): string {
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/**
 * Environment of one program: PATH, HOME, LANG, TZ and the caller's BERTH_* and FAKE_SMI_* variables,
 * overridden by what the supervisor decides. Each program gets only the tokens that it needs.
 */
export function programEnvironment(
  program: ProgramName,
  sources: EnvironmentSources,
): Record<string, string> {
  const { settings } = sources;
  return {
    ...passedThrough(sources.callerEnv),
    NODE_COMPILE_CACHE: sources.callerEnv.NODE_COMPILE_CACHE ?? `${settings.dataDir}/compile-cache`,
    BERTH_SUPERVISED: "1",
    BERTH_DATA_DIR: `${settings.dataDir}/${program}`,
    BERTH_HOST: settings.host,
    ...OWN_SETTINGS[program](sources),
  };
}

const OWN_SETTINGS: Record<ProgramName, (sources: EnvironmentSources) => Record<string, string>> = {
  "control-plane": ({ settings, tokens }) => ({
    BERTH_HTTP_PORT: String(settings.httpPort),
    BERTH_WS_PORT: String(settings.wsPort),
    BERTH_AGENT_PORT: String(settings.agentPort),
    BERTH_LOCAL_TOKEN: tokenText(tokens.link),
    ...(settings.aliasPorts === undefined ? {} : { BERTH_ALIAS_PORTS: settings.aliasPorts }),
    ...(settings.agentHost === undefined ? {} : { BERTH_AGENT_HOST: settings.agentHost }),
  }),
  "cluster-agent": ({ settings, tokens, callerEnv }) => ({
    BERTH_HTTP_PORT: String(settings.clusterPort),
    BERTH_NODE_PORT: String(settings.nodePort),
    BERTH_CLUSTER_ID: settings.clusterId,
    // One image for both programs: building it takes seconds of CPU.
    BERTH_SANDBOX_DIR: sandboxDirOf(settings, callerEnv),
    BERTH_ENROLMENT_TOKEN: tokenText(tokens.link),
    BERTH_LOCAL_TOKEN: tokenText(tokens.node),
    ...(settings.nodeHost === undefined ? {} : { BERTH_NODE_HOST: settings.nodeHost }),
    ...dialled("BERTH_CONTROL_PLANE_URL", {
      host: settings.agentHost ?? settings.host,
      port: settings.agentPort,
      serverDir: `${settings.dataDir}/control-plane`,
    }),
  }),
  "node-agent": ({ settings, tokens }) => ({
    // glibc keeps what the start needed and freed, 2 MiB in the bundle and 14 from source, unless it is told a limit.
    MALLOC_TRIM_THRESHOLD_: "65536",
    BERTH_ENROLMENT_TOKEN: tokenText(tokens.node),
    ...(settings.nodeId === undefined ? {} : { BERTH_NODE_ID: settings.nodeId }),
    ...(settings.metricsPort === undefined
      ? {}
      : { BERTH_METRICS_PORT: String(settings.metricsPort) }),
    ...dialled("BERTH_CLUSTER_AGENT_URL", {
      host: settings.nodeHost ?? settings.host,
      port: settings.nodePort,
      serverDir: `${settings.dataDir}/cluster-agent`,
    }),
  }),
  simulator: ({ settings, tokens, callerEnv }) => ({
    BERTH_ENROLMENT_TOKEN: settings.sim?.joins?.token ?? tokenText(tokens.link),
    ...dialled("BERTH_CONTROL_PLANE_URL", {
      host: settings.agentHost ?? settings.host,
      port: settings.agentPort,
      serverDir: `${settings.dataDir}/control-plane`,
    }),
    ...(settings.sim?.joins === undefined
      ? { BERTH_SANDBOX_DIR: sandboxDirOf(settings, callerEnv) }
      : { BERTH_CONTROL_PLANE_URL: settings.sim.joins.agentUrl }),
    ...settings.sim?.variables,
  }),
};

/** Where the programs of this machine share the policy workers' memory image. */
function sandboxDirOf(
  { dataDir }: EnvironmentSources["settings"],
  callerEnv: EnvironmentSources["callerEnv"],
): string {
  return callerEnv.BERTH_SANDBOX_DIR ?? `${dataDir}/control-plane/sandbox`;
}

/** Text of an enrolment token without TLS; the supervisor keeps secrets only. */
function tokenText(secret: string): string {
  return `berth1.${secret}`;
}

/** URL at which an agent of this machine dials a port, and beyond loopback the server's CA. */
function dialled(
  variable: string,
  { host, port, serverDir }: { host: string; port: number; serverDir: string },
): Record<string, string> {
  if (isLoopback(host)) return { [variable]: portUrl(host, port) };
  const address = WILDCARDS.get(host) ?? host;
  return { [variable]: portUrl(address, port, "https"), BERTH_CA_FILE: `${serverDir}/ca.pem` };
}

function passedThrough(env: EnvironmentSources["callerEnv"]): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || OWN_NAMES.has(name)) continue;
    const wanted =
      PASSED_NAMES.has(name) || PASSED_PREFIXES.some((prefix) => name.startsWith(prefix));
    if (wanted) passed[name] = value;
  }
  return passed;
}
