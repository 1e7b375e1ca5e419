import type { Command } from "commander";
import { at } from "../cluster-view.ts";
import { type ClientOptions, type CommandParts, printData, withOutput } from "./command-parts.ts";

/** Adds `berth version`. */
export function versionCommand(program: Command, parts: CommandParts): void {
  withOutput(program.command("version"))
    .description("print the version of this command")
    .action((options: Pick<ClientOptions, "output">) => {
      const view = (data: unknown) => `berth ${at(data, "version")}\n`;
      printData(parts, { version: parts.version }, { form: options.output, view });
    });
}
