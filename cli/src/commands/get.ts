import type { Command } from "commander";
import { requestData } from "../client/http.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { getEventsCommand } from "./events.ts";
import { getDecisionsCommand } from "./explain.ts";
import { clustersView, nodesOf, nodesView } from "./views.ts";

/** Adds `berth get clusters|nodes`. */
export function getCommand(program: Command, parts: CommandParts): void {
  const get = program.command("get").description("show what the fleet has");
  const clusters = async (options: ClientOptions) =>
    requestData(serverOf(options, parts.context), { method: "GET", path: "/clusters" });
  withServer(get.command("clusters"))
    .description("list the clusters")
    .action(async (options: ClientOptions) => {
      printData(parts, await clusters(options), { form: options.output, view: clustersView });
    });
  withServer(get.command("nodes"))
    .description("list the nodes of all clusters")
    .action(async (options: ClientOptions) => {
      const data = nodesOf(await clusters(options));
      printData(parts, data, { form: options.output, view: nodesView });
    });
  getDecisionsCommand(get, parts);
  getEventsCommand(get, parts);
}
