import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { CliError, messageOf, usageError } from "../cli-error.ts";
import { DEFAULT_SIM_PORT } from "./free-sim-port.ts";

/** Options of a simulated fleet as given on the command line. */
export interface SimOptions {
  readonly name?: string;
  readonly profile?: string;
  readonly load?: string;
  readonly seed?: string;
  readonly interval?: string;
  readonly fault?: readonly string[];
  readonly faultScript?: string;
  readonly simPort?: string;
  /** False with `--no-cluster-ports`. */
  readonly clusterPorts?: boolean;
}

/** A simulated fleet to run. */
export interface SimSettings {
  /** What the ids of its clusters begin with: "sim". */
  readonly name: string;
  /** "3x4x8". */
  readonly fleet: string;
  readonly clusters: number;
  /** Port of the simulator's own REST surface. */
  readonly port: number;
  /** The simulator's settings, as variables; those that nobody chose are left to it. */
  readonly variables: Readonly<Record<string, string>>;
  /** A control-plane that runs already; absent when one is run with the simulator. */
  readonly joins?: {
    readonly agentUrl: string;
    /** Enrolment token for all clusters. */
    readonly token: string;
  };
}

/** Name of a fleet that nobody named. */
export const DEFAULT_SIM_NAME = "sim";

const NAME = /^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$/;
const UNIT_MS = { ms: 1, s: 1_000, m: 60_000 } as const;
const MAX_SCRIPT_LENGTH = 100_000;

/**
 * Settings of a simulated fleet. Throws a usage error that names what is wrong by form; what a fleet can
 * be the simulator checks.
 */
export function simSettings(
  fleet: string,
  options: SimOptions,
  from: { readonly env: Readonly<Record<string, string | undefined>>; readonly cwd: string },
): SimSettings {
  const [, clusters] = /^(\d{1,5})x\d{1,5}x\d{1,5}$/.exec(fleet) ?? [];
  if (clusters === undefined || Number(clusters) < 1) {
    const expected = "clusters x nodes x GPUs such as 3x4x8";
    throw usageError(`fleet ${JSON.stringify(fleet)}: expected ${expected}`);
  }
  const name = options.name ?? (from.env.BERTH_SIM_NAME || DEFAULT_SIM_NAME);
  if (!NAME.test(name)) {
    const expected = "1 to 30 of a-z, 0-9 and -, a letter first and no - at the end";
    throw usageError(`--name ${JSON.stringify(name)}: expected ${expected}`);
  }
  const port = portOf(options.simPort ?? (from.env.BERTH_SIM_PORT || String(DEFAULT_SIM_PORT)));
  const faults = [...(options.fault ?? []), ...script(options.faultScript, from.cwd)];
  return {
    name,
    fleet,
    clusters: Number(clusters),
    port,
    variables: {
      BERTH_SIM_NAME: name,
      BERTH_SIM_FLEET: fleet,
      BERTH_SIM_PORT: String(port),
      ...variable("BERTH_SIM_PROFILE", options.profile),
      ...variable("BERTH_SIM_LOAD", options.load),
      ...variable("BERTH_SIM_SEED", options.seed),
      ...variable("BERTH_SIM_INTERVAL_MS", intervalMs(options.interval)),
      ...variable("BERTH_SIM_FAULTS", faults.length === 0 ? undefined : faults.join("; ")),
      ...(options.clusterPorts === false ? { BERTH_SIM_CLUSTER_PORTS: "closed" } : {}),
    },
  };
}

/**
 * Directory of a fleet's state when nobody chose one: `base`, for another fleet than "sim" with its name behind
 * an underscore, which neither names nor hosts have.
 */
export function simDataDir(base: string, { name }: Pick<SimSettings, "name">): string {
  return name === DEFAULT_SIM_NAME ? base : `${base}_${name}`;
}

function variable(name: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [name]: value };
}

function intervalMs(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,6})(ms|s|m)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw usageError(`--interval ${JSON.stringify(text)}: expected a time such as 500ms or 5s`);
  }
  return String(Number(digits) * UNIT_MS[(unit ?? "s") as keyof typeof UNIT_MS]);
}

function script(file: string | undefined, cwd: string): string[] {
  if (file === undefined) return [];
  const text = scriptText(file, cwd);
  if (text.length > MAX_SCRIPT_LENGTH) {
    throw new CliError(`--fault-script ${file}: expected at most ${MAX_SCRIPT_LENGTH} characters`);
  }
  return text
    .split("\n")
    .map((line) => line.replace(/#.*$/, "").trim())
    .filter((line) => line !== "");
}

function scriptText(file: string, cwd: string): string {
  try {
    return readFileSync(resolve(cwd, file), "utf8");
  } catch (cause) {
    throw new CliError(`--fault-script ${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw usageError(`--sim-port ${JSON.stringify(text)}: expected a port from 1 to 65535`);
}
