import { readFileSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { parse } from "yaml";
import { CliError, messageOf, usageError } from "../cli-error.ts";
import { requestData } from "../client/http.ts";
import { at, textAt } from "../cluster-view.ts";
import { parseLossless } from "../json.ts";
import { backtestView } from "./autoscale-views.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";

interface BacktestOptions extends ClientOptions {
  readonly file?: string;
  readonly since?: string;
  readonly limit?: string;
  readonly rules?: string;
  readonly config?: string;
  readonly reports?: string;
  readonly points?: true;
}

/** Reports that are asked for at a time. */
const AT_ONCE = 4;

/** Adds `berth autoscale backtest` and `berth autoscale reports`. */
export function backtestCommand(autoscale: Command, parts: CommandParts): void {
  withServer(autoscale.command("backtest"))
    .description("run a workflow over recorded reports, against what was done")
    .argument("[workflow]", "id of one that is kept")
    .option("-f, --file <path>", "a workflow that is not, JSON or YAML")
    .option("--since <time>", 'evaluations since then: ISO 8601, or a time ago such as "2h"')
    .option("--limit <count>", "most evaluations (default: 200)")
    .option("--rules <path>", "rules in place of those that hold, JSON or YAML")
    .option("--config <path>", "config in place of the one that holds, JSON or YAML")
    .option("--reports <path>", "recorded reports, one JSON per line (berth autoscale reports)")
    .option("--points", "each moment with other replicas, with -o json or yaml")
    .action(async (workflow: string | undefined, options: BacktestOptions) => {
      const { context } = parts;
      const body = bodyOf(workflow, options, context.cwd);
      const server = serverOf(options, context);
      context.stderr.write("running the workflow over recorded reports …\n");
      const request = { method: "POST", path: "/autoscale/backtest", body } as const;
      const data = await requestData(server, request);
      printData(parts, data, { form: options.output, view: backtestView });
      if (options.output !== "table") return;
      const span = `${textAt(data, "from") ?? "-"} to ${textAt(data, "until") ?? "-"}`;
      const counts = `${at(data, "evaluations")} evaluations, ${at(data, "failed")} failed`;
      context.stderr.write(`${counts}, ${span}; actual → simulated\n`);
    });
  withServer(autoscale.command("reports"))
    .description("print the reports that evaluations looked at, one JSON per line")
    .option("--limit <count>", "of the newest so many evaluations", "100")
    .action(async (options: ClientOptions & { readonly limit: string }) => {
      const server = serverOf(options, parts.context);
      const list = `/autoscale/evaluations?limit=${encodeURIComponent(options.limit)}`;
      const data = await requestData(server, { method: "GET", path: list });
      const evaluations = (Array.isArray(data) ? data : []).toReversed();
      for (let from = 0; from < evaluations.length; from += AT_ONCE) {
        const some = evaluations.slice(from, from + AT_ONCE);
        const reports = await Promise.all(
          some.map((one) => {
            const id = encodeURIComponent(textAt(one, "evaluation_id") ?? "");
            return requestData(server, {
              method: "GET",
              path: `/autoscale/evaluations/${id}/report`,
            });
          }),
        );
        for (const [place, report] of reports.entries()) {
          if (report === null) continue;
          const line = { at: textAt(some[place], "started_at"), data: report };
          parts.context.stdout.write(`${JSON.stringify(line)}\n`);
        }
      }
    });
}

function bodyOf(workflow: string | undefined, options: BacktestOptions, cwd: string): object {
  const { file, since, limit, rules, config, reports, points } = options;
  if ((workflow === undefined) === (file === undefined)) {
    throw usageError("backtest: expected the id of a workflow, or --file");
  }
  return {
    ...(workflow === undefined ? {} : { workflow_id: workflow }),
    ...(file === undefined ? {} : { workflow: { yaml: textOfFile(file, cwd) } }),
    ...(since === undefined ? {} : { since }),
    ...(limit === undefined ? {} : { limit: Number(limit) }),
    ...(rules === undefined ? {} : { rules: objectOfFile(rules, cwd) }),
    ...(config === undefined ? {} : { config: objectOfFile(config, cwd) }),
    ...(reports === undefined ? {} : { reports: linesOfFile(reports, cwd) }),
    ...(points === true ? { points } : {}),
  };
}

/** The text of a file; the error names it. */
export function textOfFile(file: string, cwd: string): string {
  try {
    return readFileSync(path.resolve(cwd, file), "utf8");
  } catch (thrown) {
    throw new CliError(`${file}: cannot be read: ${messageOf(thrown)}`);
  }
}

/** What a file holds, JSON or YAML; the error names it. */
export function objectOfFile(file: string, cwd: string): unknown {
  const text = textOfFile(file, cwd);
  try {
    return parse(text);
  } catch (thrown) {
    throw new CliError(`${file}: is neither JSON nor YAML: ${messageOf(thrown)}`);
  }
}

function linesOfFile(file: string, cwd: string): readonly unknown[] {
  const lines = textOfFile(file, cwd).split("\n");
  return lines.flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [parseLossless(line)];
    } catch {
      throw new CliError(`${file}: line ${index + 1}: expected {"at", "data"} as JSON`);
    }
  });
}
