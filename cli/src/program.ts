import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { CliError, EXIT_CODES, messageOf } from "./cli-error.ts";
import { printable } from "./client/table.ts";
import { allocateCommand } from "./commands/allocate.ts";
import { autoscaleCommand } from "./commands/autoscale.ts";
import { deleteCommand } from "./commands/delete.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { explainCommand } from "./commands/explain.ts";
import { fleetCommand } from "./commands/fleet.ts";
import { getCommand } from "./commands/get.ts";
import { operationCommand } from "./commands/operation.ts";
import { pickCommand } from "./commands/pick.ts";
import { pingCommand } from "./commands/ping.ts";
import { policyCommand } from "./commands/policy.ts";
import { simCommand } from "./commands/sim.ts";
import { tokenCommand } from "./commands/token.ts";
import { topCommand } from "./commands/top.ts";
import { upCommand } from "./commands/up.ts";
import { versionCommand } from "./commands/version.ts";
import { workflowCommand } from "./commands/workflow.ts";
import type { CliContext } from "./context.ts";
import type { ProgramFiles } from "./up/up.ts";

const EXIT_HELP = `
Exit codes:
  0  done
  1  failed: the message on standard error says why and what to do
  2  the command line is wrong
  3  allocate: unschedulable, no cluster fits (the reasons are printed)`;

/**
 * Runs one `berth` command and gives its exit code. Failures are one line on standard error. `files`:
 * what `berth up` runs.
 */
export async function runBerth(context: CliContext, files: ProgramFiles): Promise<number> {
  let exitCode: number = EXIT_CODES.ok;
  const program = new Command("berth")
    .description("Control plane for fleets of GPU clusters, where every decision is a policy")
    .version(cliVersion())
    // Options after a command are the command's: `policy publish --version` is not `--version`.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
    })
    .addHelpText("after", EXIT_HELP);
  const finish = (code: number) => {
    exitCode = code;
  };
  for (const add of [
    upCommand,
    simCommand,
    policyCommand,
    allocateCommand,
    explainCommand,
    getCommand,
    operationCommand,
    autoscaleCommand,
    workflowCommand,
    topCommand,
    doctorCommand,
    pingCommand,
    fleetCommand,
    pickCommand,
    deleteCommand,
    tokenCommand,
    versionCommand,
  ]) {
    add(program, { context, files, finish, version: cliVersion() });
  }
  try {
    await program.parseAsync([...context.args], { from: "user" });
    return exitCode;
  } catch (thrown) {
    return failureCode(thrown, context);
  }
}

function failureCode(thrown: unknown, context: CliContext): number {
  // Commander has printed its message or the help already.
  if (thrown instanceof CommanderError) {
    return thrown.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage;
  }
  context.stderr.write(`error: ${printable(messageOf(thrown).replace(/\s*\n\s*/g, " "))}\n`);
  return thrown instanceof CliError ? thrown.exitCode : EXIT_CODES.failed;
}

function cliVersion(): string {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
