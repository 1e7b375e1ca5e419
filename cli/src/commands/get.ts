import type { Command } from "commander";
import { FLEET_RESOURCES, type FleetResource, requestRows, rowsOf } from "../client/fleet-rows.ts";
import { renderData } from "../client/output.ts";
import type { Table } from "../client/table.ts";
import { getBlocksCommands } from "./blocks.ts";
import { type ClientOptions, type CommandParts, serverOf, withServer } from "./command-parts.ts";
import { getEventsCommand } from "./events.ts";
import { getDecisionsCommand } from "./explain.ts";
import { getOrgCommands } from "./org.ts";
import { rowColumns } from "./row-columns.ts";
import { intervalMs, type RowOptions, rowFilter, withRowFilter } from "./row-options.ts";
import { watchAndPrint } from "./watch-rows.ts";

interface GetOptions extends ClientOptions, RowOptions {
  readonly watch?: true;
  /** False with `--no-samples`. */
  readonly samples: boolean;
}

const DESCRIPTIONS: Readonly<Record<FleetResource, string>> = {
  clusters: "list the clusters, with what they have and what is in use",
  nodes: "list the nodes, with what they have and what is in use",
  gpus: "list the GPUs: state, health, use",
};

const WATCH_HELP = `
--watch goes on until Ctrl-C: rows that change are printed again, with -o json one line each. It outlives
lost connections; standard error tells of them. A row that is gone has the status "removed".`;

/** Adds `berth get clusters|nodes|gpus|blocks|allocations|leases|quotas|subjects|scale-requests|decisions|events`. */
export function getCommand(program: Command, parts: CommandParts): void {
  const get = program.command("get").description("show what the fleet has");
  for (const resource of FLEET_RESOURCES) {
    withRowFilter(withServer(get.command(resource)), resource)
      .description(DESCRIPTIONS[resource])
      .option("-w, --watch", "go on and print what changes")
      .option("--interval <seconds>", "with --watch: at most one change of a row in this time", "1")
      .option("--no-samples", "with --watch: leave out rows of which only measurements changed")
      .addHelpText("after", WATCH_HELP)
      .action((options: GetOptions) => getRows(resource, options, parts));
  }
  getBlocksCommands(get, parts);
  getOrgCommands(get, parts);
  getDecisionsCommand(get, parts);
  getEventsCommand(get, parts);
}

async function getRows(
  resource: FleetResource,
  options: GetOptions,
  parts: CommandParts,
): Promise<void> {
  const { context } = parts;
  const server = serverOf(options, context);
  const filter = rowFilter(options, resource);
  const everyMs = intervalMs(options.interval);
  if (options.watch) {
    const { output: form, samples } = options;
    await watchAndPrint({ context, server, resource, filter, everyMs, form, samples });
    return;
  }
  const rows = await requestRows(server, resource, filter);
  context.stdout.write(renderData(rows, options.output, (data) => rowsTable(resource, data)));
  if (rows.length === 0 && options.output === "table") {
    context.stderr.write(`no ${resource} found\n`);
  }
}

/** Rows of a resource as a table. */
export function rowsTable(resource: FleetResource, data: unknown): Table {
  const columns = rowColumns(resource);
  return {
    columns: columns.map((column) => column.title),
    rows: rowsOf(data).map((row) => columns.map((column) => column.text(row))),
  };
}
