import { type Command, Option } from "commander";
import { usageError } from "../cli-error.ts";
import { type ApiServer, DEFAULT_AGENT, DEFAULT_SERVER, parseServer } from "../client/http.ts";
import { OUTPUT_FORMS, type OutputForm, renderData } from "../client/output.ts";
import type { Table } from "../client/table.ts";
import type { CliContext } from "../context.ts";
import type { ProgramFiles } from "../up/up.ts";

/** What every command gets to work with. */
export interface CommandParts {
  readonly context: CliContext;
  readonly files: ProgramFiles;
  /** Sets the exit code of a command that ends well. */
  finish(exitCode: number): void;
  /** Version of the command line. */
  readonly version: string;
}

/** Options of every command that talks to a control-plane. */
export interface ClientOptions {
  readonly server?: string;
  readonly timeout: string;
  readonly output: OutputForm;
}

/** Adds `-o`. */
export function withOutput(command: Command): Command {
  return command.addOption(
    new Option("-o, --output <form>", "form of the output").choices(OUTPUT_FORMS).default("table"),
  );
}

/** Adds the options of a command that talks to a control-plane. */
export function withServer(command: Command): Command {
  return withOutput(command)
    .option("--server <url>", `control-plane (or BERTH_SERVER; default: ${DEFAULT_SERVER})`)
    .option("--timeout <seconds>", "longest wait for the answer", "60");
}

/** Adds the option of a command that may talk to a cluster-agent. */
export function withAgent(command: Command): Command {
  return command.option(
    "--agent <url>",
    `cluster-agent, with --node (or BERTH_AGENT_SERVER; default: ${DEFAULT_AGENT})`,
  );
}

/** The control-plane that the options and the environment name. */
export function serverOf(options: ClientOptions, context: CliContext): ApiServer {
  const address = options.server ?? (context.env.BERTH_SERVER || DEFAULT_SERVER);
  return {
    url: parseServer(address),
    timeoutMs: timeoutMs(options),
  };
}

/** The cluster-agent that the options and the environment name. */
export function agentOf(
  options: ClientOptions & { readonly agent?: string },
  context: CliContext,
): ApiServer {
  const address = options.agent ?? (context.env.BERTH_AGENT_SERVER || DEFAULT_AGENT);
  return {
    url: parseServer(address, "--agent", DEFAULT_AGENT),
    timeoutMs: timeoutMs(options),
    noun: "cluster-agent",
    chosenBy: "--agent or BERTH_AGENT_SERVER",
  };
}

function timeoutMs(options: ClientOptions): number {
  const seconds = Number(options.timeout);
  if (seconds > 0 && seconds <= 86_400) return Math.ceil(seconds * 1000);
  throw usageError(
    `--timeout ${JSON.stringify(options.timeout)}: expected seconds, more than 0 and at most 86400`,
  );
}

/** Prints data in the form that was asked for. */
export function printData(
  parts: CommandParts,
  data: unknown,
  how: { form: OutputForm; view: (data: unknown) => Table | string },
): void {
  parts.context.stdout.write(renderData(data, how.form, how.view));
}
