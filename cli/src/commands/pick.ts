import type { Command } from "commander";
import { usageError } from "../cli-error.ts";
import { type ApiServer, requestData } from "../client/http.ts";
import { printable, renderTable } from "../client/table.ts";
import { at, listAt } from "../cluster-view.ts";
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

interface PickOptions extends ClientOptions {
  readonly agent?: string;
  readonly instance?: string;
  readonly boot?: string;
}

const HELP = `
Two agents on copies of one data directory are both refused until this command tells which one is the right
one. Without --instance and --boot it lists them. Stop the other one, or give it a directory of its own.`;

/** Adds `berth pick cluster|node`. */
export function pickCommand(program: Command, parts: CommandParts): void {
  const pick = program.command("pick").description("tell which of two agents is the right one");
  withServer(pick.command("cluster"))
    .description("list the agents that run as one cluster, or pick one")
    .argument("<cluster>", "id of the cluster")
    .option("--instance <id>", "the agent to let in, as listed")
    .addHelpText("after", HELP)
    .action(async (id: string, options: PickOptions) => {
      const place = `/clusters/${encodeURIComponent(id)}`;
      await listOrPick({ parts, options, server: serverOf(options, parts.context), place });
    });
  withAgent(withServer(pick.command("node")))
    .description("list the agents that run as one node, or pick one")
    .argument("<node>", "id of the node")
    .option("--instance <id>", "the agent to let in, as listed")
    .option("--boot <id>", "the machine to let in, by its boot, as listed")
    .addHelpText("after", HELP)
    .action(async (id: string, options: PickOptions) => {
      const place = `/nodes/${encodeURIComponent(id)}`;
      await listOrPick({ parts, options, server: agentOf(options, parts.context), place });
    });
}

/** What a pick tells the server; undefined when it only lists. Throws a usage error when both are given. */
export function pickBody({
  instance,
  boot,
}: Pick<PickOptions, "instance" | "boot">): Readonly<Record<string, string>> | undefined {
  if (instance !== undefined && boot !== undefined) {
    throw usageError("--instance, --boot: expected one of them");
  }
  if (instance !== undefined) return { agent_instance_id: instance };
  return boot === undefined ? undefined : { boot_id: boot };
}

async function listOrPick(asked: {
  readonly parts: CommandParts;
  readonly options: PickOptions;
  readonly server: ApiServer;
  /** Path of the cluster or node. */
  readonly place: string;
}): Promise<void> {
  const { parts, options, server, place } = asked;
  const body = pickBody(options);
  const data = await requestData(
    server,
    body === undefined
      ? { method: "GET", path: `${place}/duplicates` }
      : { method: "POST", path: `${place}/pick`, body },
  );
  printData(parts, data, { form: options.output, view: duplicatesText });
}

/** The candidates as a table, below what is known of them. */
export function duplicatesText(data: unknown): string {
  const state = cellText(at(data, "state"));
  if (state === "clear") return "one agent only: there is nothing to pick\n";
  const since = cellText(at(data, "since"));
  const told = state === "duplicate" ? "two agents run as one, both are refused" : "picked";
  const table = renderTable({
    columns: ["INSTANCE", "VERDICT", "ADDRESS", "BOOT", "FIRST SEEN", "HEARD"],
    rows: listAt(data, "candidates").map((candidate) => [
      cellText(at(candidate, "agent_instance_id")),
      cellText(at(candidate, "verdict")),
      cellText(at(candidate, "address")),
      cellText(at(candidate, "boot_id")),
      cellText(at(candidate, "first_seen_at")),
      heardText(at(candidate, "age_ms")),
    ]),
  });
  return `${printable(`${told}, since ${since}`)}\n${table}`;
}

function heardText(ageMs: unknown): string {
  return ageMs === null || ageMs === undefined ? "-" : `${cellText(ageMs)} ms ago`;
}
