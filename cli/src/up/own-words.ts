import type { ProgramName } from "./environment.ts";

/** Flag and variable of `berth up` behind what a program calls otherwise or cannot be given itself. */
type OwnSettings = Readonly<Record<string, string>>;

const EVERYWHERE: OwnSettings = { BERTH_DATA_DIR: "--data-dir (BERTH_DATA_DIR)" };

const OF_PROGRAM: Readonly<Record<ProgramName, OwnSettings>> = {
  "control-plane": {
    BERTH_HTTP_PORT: "--http-port (BERTH_HTTP_PORT)",
    BERTH_WS_PORT: "--ws-port (BERTH_WS_PORT)",
    BERTH_AGENT_PORT: "--agent-port (BERTH_AGENT_PORT)",
    BERTH_AGENT_HOST: "--agent-host (BERTH_AGENT_HOST)",
  },
  "cluster-agent": {
    BERTH_HTTP_PORT: "--cluster-port (BERTH_CLUSTER_PORT)",
    BERTH_NODE_PORT: "--node-port (BERTH_NODE_PORT)",
    BERTH_NODE_HOST: "--node-host (BERTH_NODE_HOST)",
    BERTH_CLUSTER_ID: "--cluster-id (BERTH_CLUSTER_ID)",
  },
  "node-agent": {
    BERTH_NODE_ID: "--node-id (BERTH_NODE_ID)",
  },
  simulator: {
    BERTH_ENROLMENT_TOKEN: "--token of `berth sim`",
    BERTH_SIM_NAME: "--name (BERTH_SIM_NAME)",
    BERTH_SIM_PROFILE: "--profile (BERTH_SIM_PROFILE)",
    BERTH_SIM_LOAD: "--load (BERTH_SIM_LOAD)",
    BERTH_SIM_SEED: "--seed (BERTH_SIM_SEED)",
    BERTH_SIM_INTERVAL_MS: "--interval (BERTH_SIM_INTERVAL_MS)",
    BERTH_SIM_FAULTS: "--fault (BERTH_SIM_FAULTS)",
    BERTH_SIM_PORT: "--sim-port (BERTH_SIM_PORT)",
  },
};

/** What a program says to people, with the settings that it names as `berth up` takes them. */
export function inOwnWords(program: string, text: string): string {
  const own = Object.hasOwn(OF_PROGRAM, program) ? OF_PROGRAM[program as ProgramName] : {};
  return text.replace(/\bBERTH_[A-Z_]+\b/g, (name) => own[name] ?? EVERYWHERE[name] ?? name);
}
