import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { EXIT_CODES } from "../cli-error.ts";
import { requestAnswer } from "../client/http.ts";
import { type AllocateOptions, allocationBody } from "./allocation-request.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { hasUnschedulable, placementView } from "./views.ts";

const HELP = `
Exit code 3 means unschedulable: the policy found no place, and the reasons are printed.

Examples:
  berth allocate --policy least-loaded:1.0.0-stable --gpus 1
  berth allocate --policy least-loaded:1.0.0-stable --input gpu_model=H100 --input gpu_memory_mb=40000`;

/** Adds `berth allocate`. */
export function allocateCommand(program: Command, parts: CommandParts): void {
  withServer(program.command("allocate"))
    .description("ask a policy for a place: cluster, node and GPUs")
    .requiredOption("--policy <uri>", "policy that decides: name:version-tag")
    .option("--gpus <count>", 'the input "gpus"')
    .option("--input <key=value...>", "one input; the value as JSON, or as text when it is none")
    .option("--inputs <json>", "all inputs as a JSON object, or @file")
    .option("--cluster <id...>", "candidates (default: every live cluster)")
    .option("--parameters <json>", "parameters of the policy as a JSON object, or @file")
    .option("--settings <json>", "settings of the policy as a JSON object, or @file")
    .addHelpText("after", HELP)
    .action(async (options: AllocateOptions & ClientOptions) => {
      const { context } = parts;
      const readFile = (path: string) => readFileSync(resolve(context.cwd, path), "utf8");
      const body = allocationBody(options, readFile);
      const server = serverOf(options, context);
      const request = { method: "POST", path: "/allocate", body } as const;
      const { data, warnings } = await requestAnswer(server, request);
      for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`);
      printData(parts, data, { form: options.output, view: placementView });
      if (hasUnschedulable(data)) parts.finish(EXIT_CODES.unschedulable);
    });
}
