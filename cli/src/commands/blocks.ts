import type { Command } from "commander";
import { requestAnswer } from "../client/http.ts";
import { renderData } from "../client/output.ts";
import type { Table } from "../client/table.ts";
import { allocationsView, blocksView, blockView, leasesView } from "./block-views.ts";
import { type ClientOptions, type CommandParts, serverOf, withServer } from "./command-parts.ts";

interface ListOptions extends ClientOptions {
  readonly cluster?: string;
  readonly block?: string;
  readonly limit?: string;
}

const ALLOCATIONS_HELP = `
An orphan is held for what runs on its cluster and is in no record: nothing else gets those GPUs, and nothing
ends it by itself. What is quarantined may still run although nobody hears of it.`;

/** Adds `berth get blocks|allocations|leases`. */
export function getBlocksCommands(get: Command, parts: CommandParts): void {
  withServer(get.command("blocks"))
    .description("list the blocks of all clusters, or show one with its instances")
    .argument("[block]", "id of one block")
    .option("--cluster <id>", "of this cluster only")
    .option("--limit <count>", "most blocks")
    .action(async (id: string | undefined, options: ListOptions) => {
      const path = id === undefined ? "/blocks" : `/blocks/${encodeURIComponent(id)}`;
      const nowMs = Date.now();
      const view = (data: unknown) =>
        Array.isArray(data) ? blocksView(data, nowMs) : blockView(data, nowMs);
      await showList({ parts, options, path, view, noun: "blocks" });
    });
  withServer(get.command("allocations"))
    .description("list what instances hold: GPUs, CPU, memory, storage")
    .option("--cluster <id>", "of this cluster only")
    .option("--block <id>", "of this block only")
    .option("--limit <count>", "most allocations")
    .addHelpText("after", ALLOCATIONS_HELP)
    .action(async (options: ListOptions) => {
      const nowMs = Date.now();
      const view = (data: unknown) => allocationsView(data, nowMs);
      await showList({ parts, options, path: "/allocations", view, noun: "allocations" });
    });
  withServer(get.command("leases"))
    .description("list what is held for a while, and by whom")
    .option("--cluster <id>", "of this cluster only")
    .option("--limit <count>", "most leases")
    .action(async (options: ListOptions) => {
      await showList({ parts, options, path: "/leases", view: leasesView, noun: "leases" });
    });
}

/** Asks for a list, or for one thing, and prints it; what the server finds odd goes to standard error. */
export async function showList(asked: {
  readonly parts: CommandParts;
  readonly options: ListOptions & { readonly state?: string };
  readonly path: string;
  readonly view: (data: unknown) => Table | string;
  /** What there may be none of. */
  readonly noun: string;
}): Promise<unknown> {
  const { parts, options, path, view, noun } = asked;
  const { stdout, stderr } = parts.context;
  const request = { method: "GET" as const, path: `${path}${queryText(options)}` };
  const { data, warnings, more } = await requestAnswer(serverOf(options, parts.context), request);
  for (const warning of warnings) stderr.write(`warning: ${warning}\n`);
  stdout.write(renderData(data, options.output, view));
  if (Array.isArray(data) && data.length === 0 && options.output === "table") {
    stderr.write(`no ${noun} found\n`);
  }
  if (more !== undefined) stderr.write(`and ${more} more ${noun}: --limit shows more\n`);
  return data;
}

/** The server checks the values. */
function queryText(options: ListOptions & { readonly state?: string }): string {
  const query = new URLSearchParams();
  const { cluster, block, state, limit } = options;
  for (const [name, value] of Object.entries({
    cluster_id: cluster,
    block_id: block,
    state,
    limit,
  })) {
    if (value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
