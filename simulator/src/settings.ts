import {
  choiceSetting,
  integerSetting,
  listSetting,
  loopbackHostSetting,
  portSetting,
  requiredTextSetting,
  type Setting,
  textSetting,
} from "@berth/service-kit";
import { type Fault, parseFaultScript } from "./faults/fault.ts";
import { FLEET_NAME, fleetText, parseFleetSize } from "./fleet/fleet-plan.ts";
import { LOAD_PATTERNS } from "./sources/load-pattern.ts";
import { PROFILES } from "./sources/profile.ts";

/** Settings of the simulator; the README's table is made from these. */
export const settings = {
  dataDir: textSetting({
    env: "BERTH_DATA_DIR",
    doc: "directory of the simulated fleet's state; one below it for each cluster",
    fallback: ".berth/sim/simulator",
  }),
  host: loopbackHostSetting(),
  port: portSetting({
    env: "BERTH_SIM_PORT",
    doc: "the simulator's own REST surface: fleet and faults",
    fallback: 31_990,
  }),
  name: {
    env: "BERTH_SIM_NAME",
    doc: "name of the fleet, which the ids of its clusters begin with; another one for each fleet of a control-plane",
    fallback: "sim",
    read: readName,
  } satisfies Setting<string>,
  fleet: {
    env: "BERTH_SIM_FLEET",
    doc: "clusters x nodes of each x GPUs of each node",
    fallback: "3x4x8",
    read: (text) => fleetText(parseFleetSize(text)),
  } satisfies Setting<string>,
  profile: choiceSetting({
    env: "BERTH_SIM_PROFILE",
    doc: "kind of the machines: h100, a100-mig, t4, or mixed, another one for each cluster",
    fallback: "h100",
    choices: PROFILES,
  }),
  load: choiceSetting({
    env: "BERTH_SIM_LOAD",
    doc: "how the GPUs are used: idle, steady, waves or busy",
    fallback: "waves",
    choices: LOAD_PATTERNS,
  }),
  seed: integerSetting({
    env: "BERTH_SIM_SEED",
    doc: "the same seed gives the same ids and loads",
    fallback: 1,
    min: 0,
    max: 2_147_483_647,
  }),
  intervalMs: {
    env: "BERTH_SIM_INTERVAL_MS",
    doc: "time between two samples of a GPU, in ms, 250-600000; 0 chooses by the size of the fleet",
    fallback: 0,
    read: readIntervalMs,
  } satisfies Setting<number>,
  clusterPorts: choiceSetting({
    env: "BERTH_SIM_CLUSTER_PORTS",
    doc: "whether cluster k opens its ports 32000+10k (HTTP) and 32001+10k (node-agents)",
    fallback: "open",
    choices: ["open", "closed"],
  }),
  faults: {
    env: "BERTH_SIM_FAULTS",
    doc: "faults after the start, between semicolons: 30s gpu-fail sim-0/node-1/3",
    fallback: [],
    read: parseFaultScript,
  } satisfies Setting<readonly Fault[]>,
  controlPlaneUrl: textSetting({
    env: "BERTH_CONTROL_PLANE_URL",
    doc: "agent port of the control-plane: https://<host>:<port>, or http:// on loopback",
    fallback: "http://127.0.0.1:7443",
  }),
  enrolmentToken: requiredTextSetting({
    env: "BERTH_ENROLMENT_TOKEN",
    doc: "enrolment token for as many clusters as the fleet has",
  }),
  caFile: textSetting({
    env: "BERTH_CA_FILE",
    doc: "PEM file of the CA that the control-plane's certificate is checked with, instead of the enrolment token's pin",
    fallback: "",
  }),
  sandboxDir: textSetting({
    env: "BERTH_SANDBOX_DIR",
    doc: "directory of the memory image that policy workers start from, by default below BERTH_DATA_DIR; programs of one machine may share it",
    fallback: "",
  }),
  allowedHosts: listSetting({
    env: "BERTH_ALLOWED_HOSTS",
    doc: "host names beyond loopback that the Host header may carry",
    fallback: [],
  }),
  allowedOrigins: listSetting({
    env: "BERTH_ALLOWED_ORIGINS",
    doc: "origins beyond loopback ones that browsers may call from",
    fallback: [],
  }),
};

const INTERVAL_MS = { min: 250, max: 600_000 } as const;

function readIntervalMs(text: string): number {
  const { min, max } = INTERVAL_MS;
  const value = /^\d{1,6}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (value === 0 || (value >= min && value <= max)) return value;
  throw new Error(`expected a whole number of ms from ${min} to ${max}, or 0`);
}

function readName(text: string): string {
  if (FLEET_NAME.test(text)) return text;
  throw new Error("expected 1 to 30 of a-z, 0-9 and -, a letter first and no - at the end");
}
