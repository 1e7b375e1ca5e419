import type { Command } from "commander";
import { requestData } from "../client/http.ts";
import type { Table } from "../client/table.ts";
import { at } from "../cluster-view.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { cellText } from "./views.ts";

interface EventsOptions extends ClientOptions {
  readonly cluster?: string;
  readonly kind?: string;
  readonly before?: string;
  readonly limit: string;
}

/** Adds `events` to `berth get`. */
export function getEventsCommand(get: Command, parts: CommandParts): void {
  withServer(get.command("events"))
    .description("list what happened on the clusters and on the links to them, newest first")
    .option("--cluster <id>", "of this cluster only")
    .option("--kind <kind>", "of this kind only: agent_lost, node_joined, ...")
    .option("--before <seq>", "the page before this event")
    .option("--limit <count>", "most events, up to 1000", "50")
    .action(async (options: EventsOptions) => {
      const path = eventsPath(options);
      const data = await requestData(serverOf(options, parts.context), { method: "GET", path });
      printData(parts, data, { form: options.output, view: eventsView });
    });
}

/** Path and query of `GET /events`; the server checks the values. */
export function eventsPath(options: Omit<EventsOptions, keyof ClientOptions>): string {
  const query = new URLSearchParams({ limit: options.limit });
  if (options.cluster !== undefined) query.set("cluster_id", options.cluster);
  if (options.kind !== undefined) query.set("kind", options.kind);
  if (options.before !== undefined) query.set("before", options.before);
  return `/events?${query}`;
}

/** Events, one per row. */
export function eventsView(data: unknown): Table {
  return {
    columns: ["SEQ", "AT", "CLUSTER", "KIND", "ABOUT", "FACTS"],
    rows: (Array.isArray(data) ? data : []).map((event) => [
      cellText(at(event, "seq")),
      cellText(at(event, "at")),
      cellText(at(event, "cluster_id")),
      cellText(at(event, "kind")),
      cellText(at(event, "key")),
      cellText(at(event, "facts")),
    ]),
  };
}
