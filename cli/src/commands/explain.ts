import type { Command } from "commander";
import { EXIT_CODES, usageError } from "../cli-error.ts";
import { requestDecisions } from "../client/decision-pages.ts";
import { requestAnswer, requestData } from "../client/http.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { decisionsView, explainView } from "./explain-view.ts";

interface DecisionOptions extends ClientOptions {
  readonly policy?: string;
  readonly cluster?: string;
  readonly outcome?: string;
  readonly limit: string;
}

/** Adds `berth explain [decision]`. */
export function explainCommand(program: Command, parts: CommandParts): void {
  withServer(program.command("explain"))
    .description("say why an allocation came out as it did")
    .argument("[decision]", "id of the decision (default: the newest one)")
    .action(async (id: string | undefined, options: ClientOptions) => {
      const server = serverOf(options, parts.context);
      const path = id === undefined ? "/decisions?limit=1" : `/decisions/${encodeURIComponent(id)}`;
      const data = await requestData(server, { method: "GET", path });
      const decision = id === undefined ? newestOf(data) : data;
      printData(parts, decision, { form: options.output, view: explainView });
    });
}

/** Adds `berth get decisions`. */
export function getDecisionsCommand(get: Command, parts: CommandParts): void {
  withServer(get.command("decisions"))
    .description("list the newest decisions of the allocator")
    .option("--policy <uri>", "only of this policy")
    .option("--cluster <id>", "only those that chose this cluster")
    .option("--outcome <outcome>", "placed, unschedulable or failed")
    .option("--limit <count>", "at most so many, 1-1000", "20")
    .action((options: DecisionOptions) => getDecisions(options, parts));
}

async function getDecisions(options: DecisionOptions, parts: CommandParts): Promise<void> {
  const { stderr } = parts.context;
  const query = new URLSearchParams({ limit: options.limit });
  for (const name of ["policy", "cluster", "outcome"] as const) {
    const value = options[name];
    if (value !== undefined) query.set(name, value);
  }
  const server = serverOf(options, parts.context);
  const { decisions, gaveUp } = await requestDecisions(query, {
    ask: (path) => requestAnswer(server, { method: "GET", path }),
    onProgress: (line) => stderr.write(`still looking: ${line}\n`),
    giveUpMs: server.timeoutMs,
    nowMs: () => performance.now(),
  });
  printData(parts, decisions, { form: options.output, view: decisionsView });
  if (gaveUp === undefined) return;
  const after = `${server.timeoutMs / 1000} s`;
  stderr.write(`gave up after ${after}: ${gaveUp}, not all is looked at; --timeout allows more\n`);
  parts.finish(EXIT_CODES.failed);
}

function newestOf(data: unknown): unknown {
  if (Array.isArray(data) && data.length > 0) return data[0];
  throw usageError("there is no decision yet: ask for a place with `berth allocate` first");
}
