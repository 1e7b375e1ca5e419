import type { LinkTokens } from "./data-dir.ts";

/** The programs of one machine's fleet, in the order in which they are started. */
export const PROGRAM_NAMES = ["control-plane", "cluster-agent", "node-agent"] as const;

/** One of {@link PROGRAM_NAMES}. */
export type ProgramName = (typeof PROGRAM_NAMES)[number];

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
  readonly clusterId: string;
  /** The node-agent's own choice (the host's name) when absent. */
  readonly nodeId?: string;
  /** Whether the programs' log lines are shown on the terminal too. */
  readonly verbose: boolean;
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
const SECRETS = new Set(["BERTH_LINK_TOKEN", "BERTH_NODE_TOKEN", "BERTH_LAUNCHER_PID"]);

/** Whether the programs' log, at the level that the caller set, says when they have started. */
export function announcesStart(callerEnv: EnvironmentSources["callerEnv"]): boolean {
  return !["warn", "error", "silent"].includes(callerEnv.BERTH_LOG_LEVEL ?? "");
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
    NODE_COMPILE_CACHE: `${settings.dataDir}/compile-cache`,
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
    BERTH_LINK_TOKEN: tokens.link,
  }),
  "cluster-agent": ({ settings, tokens }) => ({
    BERTH_HTTP_PORT: String(settings.clusterPort),
    BERTH_NODE_PORT: String(settings.nodePort),
    BERTH_CONTROL_PLANE_URL: portUrl(settings.host, settings.agentPort),
    BERTH_CLUSTER_ID: settings.clusterId,
    BERTH_LINK_TOKEN: tokens.link,
    BERTH_NODE_TOKEN: tokens.node,
  }),
  "node-agent": ({ settings, tokens }) => ({
    BERTH_CLUSTER_AGENT_URL: portUrl(settings.host, settings.nodePort),
    BERTH_NODE_TOKEN: tokens.node,
    ...(settings.nodeId === undefined ? {} : { BERTH_NODE_ID: settings.nodeId }),
  }),
};

function passedThrough(env: EnvironmentSources["callerEnv"]): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || SECRETS.has(name)) continue;
    const wanted =
      PASSED_NAMES.has(name) || PASSED_PREFIXES.some((prefix) => name.startsWith(prefix));
    if (wanted) passed[name] = value;
  }
  return passed;
}
