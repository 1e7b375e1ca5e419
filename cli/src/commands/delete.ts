import type { Command } from "commander";
import { requestData } from "../client/http.ts";
import { at } from "../cluster-view.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { cellText } from "./views.ts";

const HELP = `
The cluster's id is free afterwards, and the key of its agent has ended: it joins again with a new enrolment
token only. What runs on the cluster goes on running.`;

/** Adds `berth delete cluster`. */
export function deleteCommand(program: Command, parts: CommandParts): void {
  const remove = program.command("delete").description("take something out of the fleet");
  withServer(remove.command("cluster"))
    .description("forget a cluster and end the key of its agent")
    .argument("<cluster>", "id of the cluster")
    .option("--force", "also when its agent is connected: the agent is cut off")
    .addHelpText("after", HELP)
    .action(async (cluster: string, options: ClientOptions & { readonly force?: true }) => {
      const path = `/clusters/${encodeURIComponent(cluster)}${options.force ? "?force=true" : ""}`;
      const server = serverOf(options, parts.context);
      const data = await requestData(server, { method: "DELETE", path });
      printData(parts, data, {
        form: options.output,
        view: (answer) => `${cluster}: ${cellText(at(answer, "message"))}\n`,
      });
    });
}
