import type { Command } from "commander";
import { type ApiServer, requestData } from "../client/http.ts";
import { at } from "../cluster-view.ts";
import {
  agentOf,
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withAgent,
  withServer,
} from "./command-parts.ts";
import { cellText } from "./views.ts";

interface DeleteOptions extends ClientOptions {
  readonly agent?: string;
  readonly force?: true;
}

const CLUSTER_HELP = `
The cluster's id is free afterwards, and the key of its agent has ended: it joins again with a new enrolment
token only. What runs on the cluster goes on running.`;

const NODE_HELP = `
The node's id is free afterwards, also for another machine, and the key of its agent has ended: it joins again
with a new enrolment token only. What runs on the node goes on running.`;

/** Adds `berth delete cluster|node`. */
export function deleteCommand(program: Command, parts: CommandParts): void {
  const remove = program.command("delete").description("take something out of the fleet");
  withServer(remove.command("cluster"))
    .description("forget a cluster and end the key of its agent")
    .argument("<cluster>", "id of the cluster")
    .option("--force", "also when its agent is connected: the agent is cut off")
    .addHelpText("after", CLUSTER_HELP)
    .action(async (id: string, options: DeleteOptions) => {
      await deleteThing({
        parts,
        options,
        server: serverOf(options, parts.context),
        id,
        kind: "clusters",
      });
    });
  withAgent(withServer(remove.command("node")))
    .description("forget a node of a cluster and end the key of its agent")
    .argument("<node>", "id of the node")
    .option("--force", "also when its agent is connected: the agent is cut off")
    .addHelpText("after", NODE_HELP)
    .action(async (id: string, options: DeleteOptions) => {
      await deleteThing({
        parts,
        options,
        server: agentOf(options, parts.context),
        id,
        kind: "nodes",
      });
    });
}

async function deleteThing(asked: {
  readonly parts: CommandParts;
  readonly options: DeleteOptions;
  readonly server: ApiServer;
  readonly id: string;
  readonly kind: "clusters" | "nodes";
}): Promise<void> {
  const { parts, options, server, id, kind } = asked;
  const path = `/${kind}/${encodeURIComponent(id)}${options.force ? "?force=true" : ""}`;
  const data = await requestData(server, { method: "DELETE", path });
  printData(parts, data, {
    form: options.output,
    view: (answer) => `${id}: ${cellText(at(answer, "message"))}\n`,
  });
}
