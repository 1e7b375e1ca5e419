import type { Command } from "commander";

/** Adds the options of a simulated fleet. */
export function withSimOptions(command: Command): Command {
  const gather = (fault: string, before: readonly string[] = []) => [...before, fault];
  return command
    .option("--profile <name>", "simulated machines: h100, a100-mig, t4, mixed (default: h100)")
    .option("--load <pattern>", "use of simulated GPUs: idle, steady, waves, busy (default: waves)")
    .option("--seed <number>", "the same seed gives the same ids and loads (default: 1)")
    .option("--interval <time>", "time between samples, 500ms, 5s (default: by the fleet's size)")
    .option("--fault <fault>", "a fault, such as '30s gpu-fail sim-0/node-1/3'; repeatable", gather)
    .option("--fault-script <file>", "faults from a file, one per line")
    .option("--sim-port <port>", "the simulator's own REST (default: 31990)")
    .option("--no-cluster-ports", "leave the ports 32000+10k and 32001+10k of clusters closed");
}
