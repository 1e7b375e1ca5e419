import type { Command } from "commander";
import { requestData } from "../client/http.ts";
import { showList } from "./blocks.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { decidedView, operationsView, operationView, stuckIds } from "./operation-views.ts";

interface ListOptions extends ClientOptions {
  readonly cluster?: string;
  readonly block?: string;
  readonly state?: string;
  readonly limit?: string;
}

const HELP = `
An operation is what was asked of a block: create, scale, move, update, remove. One that can go neither on nor
back is "stuck", and nothing else is done to its block: look why (berth operation show), mend that, retry. What an
abandoned one has done stays as it is.`;

/** Adds `berth operation list|show|retry|abandon`. */
export function operationCommand(program: Command, parts: CommandParts): void {
  const operation = program
    .command("operation")
    .description("what was asked of blocks, and how far it has come")
    .addHelpText("after", HELP);
  withServer(operation.command("list"))
    .description("list operations, the newest first")
    .option("--cluster <id>", "of this cluster only")
    .option("--block <id>", "of this block only")
    .option("--state <state>", "running, undoing, done, failed, stuck or abandoned")
    .option("--limit <count>", "most operations")
    .action((options: ListOptions) => listOperations(options, parts));
  withServer(operation.command("show"))
    .description("show one: how far it is, how long it took, what went wrong")
    .argument("<operation>", "id of the operation")
    .action(async (id: string, options: ClientOptions) => {
      const path = `/operations/${encodeURIComponent(id)}`;
      const data = await requestData(serverOf(options, parts.context), { method: "GET", path });
      const nowMs = Date.now();
      printData(parts, data, { form: options.output, view: (one) => operationView(one, nowMs) });
    });
  const verbs = [
    ["retry", "let a stuck one go on"],
    ["abandon", "give a stuck one up: what it has done stays as it is"],
  ] as const;
  for (const [verb, description] of verbs) {
    withServer(operation.command(verb))
      .description(description)
      .argument("<operation>", "id of the operation")
      .action(async (id: string, options: ClientOptions) => {
        const path = `/operations/${encodeURIComponent(id)}/${verb}`;
        const server = serverOf(options, parts.context);
        const data = await requestData(server, { method: "POST", path, body: {} });
        printData(parts, data, { form: options.output, view: decidedView });
      });
  }
}

async function listOperations(options: ListOptions, parts: CommandParts): Promise<void> {
  const nowMs = Date.now();
  const view = (data: unknown) => operationsView(data, nowMs);
  const data = await showList({ parts, options, path: "/operations", view, noun: "operations" });
  const stuck = stuckIds(data);
  if (stuck.length === 0 || options.output !== "table") return;
  const many = stuck.length === 1 ? "1 operation is stuck" : `${stuck.length} operations are stuck`;
  parts.context.stderr.write(`${many}: berth operation show|retry|abandon ${stuck[0]}\n`);
}
