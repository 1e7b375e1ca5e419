import type { Command } from "commander";
import { usageError } from "../cli-error.ts";
import type { CliContext } from "../context.ts";
import { type SimOptions, simDataDir, simSettings } from "../sim/sim-options.ts";
import type { UpSettings } from "../up/environment.ts";
import { type UpOptions, upSettings } from "../up/options.ts";
import { runUp } from "../up/up.ts";
import type { CommandParts } from "./command-parts.ts";
import { givenSimFlag, withOwnSimPort, withSimOptions } from "./sim-flags.ts";

const HELP = `
Each option can also be given as a variable: BERTH_DATA_DIR, BERTH_HTTP_PORT, BERTH_WS_PORT,
BERTH_AGENT_PORT, BERTH_CLUSTER_PORT, BERTH_NODE_PORT, BERTH_AGENT_HOST, BERTH_NODE_HOST,
BERTH_CLUSTER_ID, BERTH_NODE_ID; with --sim also BERTH_SIM_NAME, BERTH_SIM_PROFILE, BERTH_SIM_LOAD,
BERTH_SIM_SEED, BERTH_SIM_INTERVAL_MS, BERTH_SIM_FAULTS, BERTH_SIM_PORT, BERTH_SIM_CLUSTER_PORTS.

A fleet with another --http-port than 8000 leaves the ports that the machine has once to others: the alias ports
3000, 5000, 6789, 8888, 8891 and 8892 (BERTH_ALIAS_PORTS=on opens them) and the node-agent's metrics (BERTH_METRICS_PORT says where).`;

/** A simulated fleet has a state of its own below the machine's, and the control-plane with it. */
const SIM_DATA_DIR = ".berth/sim";

async function settingsOf(
  options: UpOptions & SimOptions & { readonly sim?: string },
  { env, cwd }: CliContext,
): Promise<UpSettings> {
  if (options.sim === undefined) {
    const flag = givenSimFlag(options);
    if (flag !== undefined) throw usageError(`${flag}: expected --sim beside it, such as 3x4x8`);
    return upSettings(options, env, cwd);
  }
  const base = upSettings(options, env, cwd);
  const own = await withOwnSimPort(options, env, base.host);
  const sim = simSettings(options.sim, own, { env, cwd });
  const dataDir = options.dataDir ?? (env.BERTH_DATA_DIR || simDataDir(SIM_DATA_DIR, sim));
  return { ...upSettings({ ...options, dataDir }, env, cwd), sim };
}

/** Adds `berth up`. */
export function upCommand(program: Command, parts: CommandParts): void {
  const command = program.command("up");
  withSimOptions(command)
    .description("run the fleet of this machine: control-plane, cluster-agent, node-agent")
    .option("--data-dir <path>", "where state, logs and tokens live (default: .berth)")
    .option("--http-port <port>", "control-plane: REST (default: 8000)")
    .option("--ws-port <port>", "control-plane: WebSocket (default: 8765)")
    .option("--agent-port <port>", "control-plane: agents (default: 7443)")
    .option("--cluster-port <port>", "cluster-agent: HTTP (default: 32000)")
    .option("--node-port <port>", "cluster-agent: node-agents (default: 32001)")
    .option(
      "--no-alias-ports",
      "leave the ports 3000, 5000, 6789, 8888, 8891 and 8892 of existing clients closed",
    )
    .option("--agent-host <address>", "take cluster-agents of other machines there, with TLS")
    .option("--node-host <address>", "take node-agents of other machines there, with TLS")
    .option("--cluster-id <id>", "id of this machine's cluster (default: local)")
    .option("--node-id <id>", "id of this machine's node (default: its host name)")
    .option("--sim <fleet>", "a simulated fleet in place of this machine's agents: 3x4x8")
    .option("--verbose", "show the programs' log lines too")
    .addHelpText("after", HELP)
    .action(async (options: UpOptions & SimOptions & { readonly sim?: string }) => {
      const { context, files } = parts;
      parts.finish(await runUp(await settingsOf(options, context), files, context));
    });
}
