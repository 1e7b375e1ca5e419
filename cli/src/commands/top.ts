import { Argument, type Command } from "commander";
import { FLEET_RESOURCES, type FleetResource, requestRows } from "../client/fleet-rows.ts";
import { renderData } from "../client/output.ts";
import { lineText } from "../client/styled-text.ts";
import type { CliContext } from "../context.ts";
import { type ClientOptions, type CommandParts, serverOf, withServer } from "./command-parts.ts";
import { intervalMs, type RowOptions, rowFilter, withRowFilter } from "./row-options.ts";
import { runLiveTop } from "./top-live.ts";
import { byUse, summaryOf } from "./top-summary.ts";
import { TopView } from "./top-view.ts";

interface TopOptions extends ClientOptions, RowOptions {
  readonly once?: true;
}

type Shown = "fleet" | FleetResource;

const HELP = `
The busiest come first. On a terminal the picture is drawn anew at each interval; q or Ctrl-C ends it, arrows
and PgUp/PgDn scroll. With --once, with -o json or yaml, and when the output is no terminal it is printed once.
AGE is the time since the values were measured; "-" is what nobody could tell. NO_COLOR is respected.`;

/** Adds `berth top`. */
export function topCommand(program: Command, parts: CommandParts): void {
  withRowFilter(withServer(program.command("top")), "gpus")
    .description("show what is in use, live")
    .addArgument(
      new Argument("[what]", "what the table lists (fleet: all together, and the nodes)")
        .choices(["fleet", ...FLEET_RESOURCES])
        .default("fleet"),
    )
    .option("--once", "print it once")
    .option("--interval <seconds>", "time between pictures, 0.2 to 60", "1")
    .addHelpText("after", HELP)
    .action((what: Shown, options: TopOptions) => top(what, options, parts.context));
}

async function top(what: Shown, options: TopOptions, context: CliContext): Promise<void> {
  const server = serverOf(options, context);
  const table = what === "fleet" ? "nodes" : what;
  // One node's share of a fleet is no overview: with a filter the head is of the rows of the table.
  const head = what === "fleet" && options.node === undefined ? "clusters" : table;
  const filter = rowFilter(options, table);
  const everyMs = intervalMs(options.interval);
  const title = `berth top ${what}   ${server.url}`;
  const { stdout, env } = context;
  const isScreen = stdout.isTTY === true && env.TERM !== "dumb";
  const styled = isScreen && !env.NO_COLOR;
  if (isScreen && !options.once && options.output === "table") {
    await runLiveTop({ context, server, table, head, filter, everyMs, title, styled });
    return;
  }
  const rows = byUse(table, await requestRows(server, table, filter));
  const headRows = head === table ? rows : byUse(head, await requestRows(server, head, filter));
  const data = head === table ? rows : { [head]: headRows, [table]: rows };
  const width = stdout.columns || Number.POSITIVE_INFINITY;
  const picture = { summary: summaryOf(head, headRows), rows };
  const view = new TopView(table, title);
  const text = renderData(data, options.output, () =>
    view
      .paint(picture, { width, bars: isScreen })
      .lines.map((line) => `${lineText(line, { styled })}\n`)
      .join(""),
  );
  stdout.write(text);
}
