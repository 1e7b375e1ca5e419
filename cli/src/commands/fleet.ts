import type { Command } from "commander";
import { requestData } from "../client/http.ts";
import { printable, renderTable, type Table } from "../client/table.ts";
import { at, listAt } from "../cluster-view.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { cellText } from "./views.ts";

interface AdoptOptions extends ClientOptions {
  readonly store?: readonly string[];
  readonly dryRun?: true;
}

const ADOPT_HELP = `
An agent that obeyed another store (the control-plane's data was lost, or switched), or has seen a newer
history of this one (it was restored from an older copy), only reports and refuses orders until this
command is run. Look first: berth fleet status, berth fleet adopt --dry-run.`;

/** Agents without a known key that are named in text; JSON has all of them. */
const MAX_NAMED = 10;

/** Adds `berth fleet status|adopt`. */
export function fleetCommand(program: Command, parts: CommandParts): void {
  const fleet = program.command("fleet").description("which agents obey this control-plane");
  withServer(fleet.command("status"))
    .description("show this control-plane's store and every connected agent")
    .action(async (options: ClientOptions) => {
      const server = serverOf(options, parts.context);
      const data = await requestData(server, { method: "GET", path: "/fleet" });
      printData(parts, data, { form: options.output, view: fleetText });
    });
  withServer(fleet.command("adopt"))
    .description("take the place of the store that agents obeyed before")
    .option("--store <id...>", "stores to take the place of (default: those of connected agents)")
    .option("--dry-run", "say what would change, and change nothing")
    .addHelpText("after", ADOPT_HELP)
    .action(async (options: AdoptOptions) => {
      const server = serverOf(options, parts.context);
      const body = {
        ...(options.store === undefined ? {} : { store_ids: options.store }),
        dry_run: options.dryRun ?? false,
      };
      const data = await requestData(server, { method: "POST", path: "/fleet/adopt", body });
      printData(parts, data, { form: options.output, view: adoptionText });
    });
}

/** The store, what is odd about it, and the agents as a table. */
export function fleetText(data: unknown): string {
  const restored = at(data, "restored");
  const waiting = cellText(at(at(data, "snapshots"), "waiting"));
  const lines = [
    `store ${cellText(at(data, "store_id"))}, term ${cellText(at(data, "controller_term"))}`,
  ];
  if (restored !== null && restored !== undefined) {
    const term = cellText(at(restored, "known_term"));
    const cluster = cellText(at(restored, "cluster_id"));
    lines.push(
      `RESTORED FROM AN OLDER COPY: cluster ${cluster} has seen term ${term} of it; no orders are given until \`berth fleet adopt\``,
    );
  }
  if (waiting !== "0") lines.push(`${waiting} agents wait to send their snapshot`);
  lines.push(...unknownLines(data));
  return `${lines.map((line) => `${printable(line)}\n`).join("")}${renderTable(agentsView(data))}`;
}

/** Agents that this store does not know, and what lets them in again. */
function unknownLines(data: unknown): string[] {
  const ids = listAt(data, "unknown").map((agent) => cellText(at(agent, "cluster_id")));
  if (ids.length === 0) return [];
  const more = ids.length > MAX_NAMED ? `, and ${ids.length - MAX_NAMED} more (-o json)` : "";
  return [
    `asking with keys that this store does not know: ${ids.slice(0, MAX_NAMED).join(", ")}${more}; a token lets them in again (\`berth token create --cluster <id>\`)`,
  ];
}

function agentsView(data: unknown): Table {
  return {
    columns: [
      "CLUSTER",
      "MODE",
      "CONNECTED",
      "HEARD",
      "KNEW STORE",
      "TERM",
      "START",
      "VERSION",
      "WHY",
    ],
    rows: listAt(data, "agents").map((agent) => [
      cellText(at(agent, "cluster_id")),
      cellText(at(agent, "mode")),
      at(agent, "connected") === true ? "yes" : "no",
      `${cellText(at(agent, "heard_ms_ago"))} ms ago`,
      cellText(at(agent, "known_store_id")),
      cellText(at(agent, "known_controller_term")),
      cellText(at(agent, "agent_incarnation")),
      cellText(at(agent, "agent_version")),
      cellText(at(agent, "why")),
    ]),
  };
}

/** What an adoption changed, or would change. */
export function adoptionText(data: unknown): string {
  const isDryRun = at(data, "dry_run") === true;
  const adopted = listAt(data, "adopted").map(cellText);
  const clusters = listAt(data, "agents").map((agent) => cellText(at(agent, "cluster_id")));
  const renewed = at(data, "renewed") === true;
  if (adopted.length === 0 && !renewed) return "nothing to adopt: no agent obeys another store\n";
  const lines = [
    `${isDryRun ? "would take" : "took"} the place of ${adopted.join(", ")}`,
    `agents that ${isDryRun ? "would obey" : "obey"} from then on: ${clusters.join(", ") || "none is connected"}`,
  ];
  if (renewed) {
    const id = isDryRun ? "a new id" : cellText(at(data, "store_id"));
    lines.unshift(
      `this store ${isDryRun ? "would get" : "got"} ${id}: it was restored from an older copy, or an agent claims what it never gave`,
    );
  }
  return lines.map((line) => `${printable(line)}\n`).join("");
}
