import type { Command } from "commander";
import { type UpOptions, upSettings } from "../up/options.ts";
import { runUp } from "../up/up.ts";
import type { CommandParts } from "./command-parts.ts";

const HELP = `
Each option can also be given as a variable: BERTH_DATA_DIR, BERTH_HTTP_PORT, BERTH_WS_PORT,
BERTH_AGENT_PORT, BERTH_CLUSTER_PORT, BERTH_NODE_PORT, BERTH_AGENT_HOST, BERTH_NODE_HOST,
BERTH_CLUSTER_ID, BERTH_NODE_ID.`;

/** Adds `berth up`. */
export function upCommand(program: Command, parts: CommandParts): void {
  program
    .command("up")
    .description("run the fleet of this machine: control-plane, cluster-agent, node-agent")
    .option("--data-dir <path>", "where state, logs and tokens live (default: .berth)")
    .option("--http-port <port>", "control-plane: REST (default: 8000)")
    .option("--ws-port <port>", "control-plane: WebSocket (default: 8765)")
    .option("--agent-port <port>", "control-plane: agents (default: 7443)")
    .option("--cluster-port <port>", "cluster-agent: HTTP (default: 32000)")
    .option("--node-port <port>", "cluster-agent: node-agents (default: 32001)")
    .option("--agent-host <address>", "take cluster-agents of other machines there, with TLS")
    .option("--node-host <address>", "take node-agents of other machines there, with TLS")
    .option("--cluster-id <id>", "id of this machine's cluster (default: local)")
    .option("--node-id <id>", "id of this machine's node (default: its host name)")
    .option("--verbose", "show the programs' log lines too")
    .addHelpText("after", HELP)
    .action(async (options: UpOptions) => {
      const { context, files } = parts;
      parts.finish(await runUp(upSettings(options, context.env, context.cwd), files, context));
    });
}
