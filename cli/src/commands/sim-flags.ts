import type { Command } from "commander";
import { freeSimPort } from "../sim/free-sim-port.ts";
import type { SimOptions } from "../sim/sim-options.ts";

/** Adds the options of a simulated fleet. */
export function withSimOptions(command: Command): Command {
  const gather = (fault: string, before: readonly string[] = []) => [...before, fault];
  return command
    .option("--name <name>", "name of the fleet, which its cluster ids begin with (default: sim)")
    .option("--profile <name>", "simulated machines: h100, a100-mig, t4, mixed (default: h100)")
    .option("--load <pattern>", "use of simulated GPUs: idle, steady, waves, busy (default: waves)")
    .option("--seed <number>", "the same seed gives the same ids and loads (default: 1)")
    .option("--interval <time>", "time between samples, 500ms, 5s (default: by the fleet's size)")
    .option("--fault <fault>", "a fault, such as '30s gpu-fail sim-0/node-1/3'; repeatable", gather)
    .option("--fault-script <file>", "faults from a file, one per line")
    .option("--sim-port <port>", "the simulator's own REST (default: 31990, or the next free one)")
    .option("--no-cluster-ports", "leave the ports 32000+10k and 32001+10k of clusters closed");
}

/** The options with a port for the simulator: the one that was chosen, else one that is free now. */
export async function withOwnSimPort<Options extends SimOptions>(
  options: Options,
  env: Readonly<Record<string, string | undefined>>,
  host: string,
): Promise<Options> {
  if (options.simPort !== undefined || env.BERTH_SIM_PORT) return options;
  return { ...options, simPort: String(await freeSimPort(host)) };
}

/** The first flag that means nothing without a simulated fleet; undefined when none was given. */
export function givenSimFlag(options: SimOptions): string | undefined {
  if (options.clusterPorts === false) return "--no-cluster-ports";
  return Object.entries(FLAGS).find(([key]) => options[key as keyof SimOptions] !== undefined)?.[1];
}

const FLAGS: Readonly<Record<Exclude<keyof SimOptions, "clusterPorts">, string>> = {
  name: "--name",
  profile: "--profile",
  load: "--load",
  seed: "--seed",
  interval: "--interval",
  fault: "--fault",
  faultScript: "--fault-script",
  simPort: "--sim-port",
};
