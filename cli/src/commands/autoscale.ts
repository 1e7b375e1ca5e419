import type { Command } from "commander";
import { usageError } from "../cli-error.ts";
import { type ApiRequest, requestAnswer, requestData } from "../client/http.ts";
import type { Table } from "../client/table.ts";
import { parseLossless } from "../json.ts";
import { decisionsView, evaluatedView, settingView, statusView } from "./autoscale-views.ts";
import { backtestCommand, objectOfFile } from "./backtest.ts";
import { showList } from "./blocks.ts";
import {
  type ClientOptions,
  type CommandParts,
  printData,
  serverOf,
  withServer,
} from "./command-parts.ts";
import { scaleRequestsView } from "./org-views.ts";

interface DecisionOptions extends ClientOptions {
  readonly subject?: string;
  readonly kind?: string;
  readonly limit?: string;
}

interface ConfigOptions extends ClientOptions {
  readonly set?: readonly string[];
  readonly unset?: readonly string[];
}

const HELP = `
A workflow of your policies says how many replicas each subject needs; guards bound what comes of it.

Examples:
  berth workflow apply -f examples/workflows/gpu-load.yaml
  berth autoscale use gpu-load
  berth autoscale evaluate --shadow
  berth autoscale decisions --subject team-a --kind change
  berth autoscale backtest gpu-load --since 2h`;

/** Adds `berth autoscale …`. */
export function autoscaleCommand(program: Command, parts: CommandParts): void {
  const autoscale = program
    .command("autoscale")
    .description("what scales subjects: how it stands, what it decided, and what it is told")
    .addHelpText("after", HELP);
  statusCommands(autoscale, parts);
  settingCommands(autoscale, parts);
  ruleCommands(autoscale, parts);
  approvalCommands(autoscale, parts);
  backtestCommand(autoscale, parts);
}

function statusCommands(autoscale: Command, parts: CommandParts): void {
  withServer(autoscale.command("status"))
    .description("workflow, interval, settings and the last evaluation")
    .action(async (options: ClientOptions) => {
      const get = (path: string) => requestOf(parts, options, { method: "GET", path });
      const [rules, interval, config, evaluations] = await Promise.all([
        ...[get("/autoscale/rules"), get("/autoscale/interval"), get("/autoscale/config")],
        get("/autoscale/evaluations?limit=1"),
      ]);
      const [last] = Array.isArray(evaluations) ? evaluations : [];
      const data = { rules, interval, config, last: last ?? null };
      const nowMs = Date.now();
      printData(parts, data, { form: options.output, view: (one) => statusView(one, nowMs) });
    });
  withServer(autoscale.command("decisions"))
    .description("what was decided about subjects and why, the newest first")
    .option("--subject <id>", "of this subject only")
    .option("--kind <kind>", "keep, change, needs_approval, shadow or refused")
    .option("--limit <count>", "most decisions")
    .action(async (options: DecisionOptions) => {
      const query = new URLSearchParams();
      const { subject, kind } = options;
      if (subject !== undefined) query.set("subject_id", subject);
      if (kind !== undefined) query.set("kind", kind);
      if (options.limit !== undefined) query.set("limit", options.limit);
      const { limit: _asked, ...rest } = options;
      const nowMs = Date.now();
      const path = `/autoscale/decisions${query.size === 0 ? "" : `?${query}`}`;
      const view = (data: unknown) => decisionsView(data, nowMs);
      await showList({ parts, options: rest, path, view, noun: "decisions" });
    });
  withServer(autoscale.command("evaluate"))
    .description("evaluate now, and show what was decided")
    .option("--shadow", "ask for nothing")
    .action(async (options: ClientOptions & { readonly shadow?: true }) => {
      const body = { shadow: options.shadow === true };
      await show(parts, options, {
        request: { method: "POST", path: "/autoscale/evaluate", body },
        view: evaluatedView,
      });
    });
}

function settingCommands(autoscale: Command, parts: CommandParts): void {
  const gather = (value: string, before: readonly string[] = []) => [...before, value];
  withServer(autoscale.command("config"))
    .description("show the free keys that reach workflows, or change them")
    .option("--set <key=value>", "set a key; the value is JSON, or text; repeatable", gather)
    .option("--unset <key>", "take a key away; repeatable", gather)
    .action(async (options: ConfigOptions) => {
      const { set = [], unset = [] } = options;
      const path = "/autoscale/config";
      const body = Object.fromEntries([
        ...set.map(memberOf),
        ...unset.map((key) => [key, null] as const),
      ]);
      const isChange = set.length + unset.length > 0;
      const request = isChange
        ? ({ method: "POST", path, body } as const)
        : ({ method: "GET", path } as const);
      await show(parts, options, { request, view: settingView });
    });
  withServer(autoscale.command("interval"))
    .description("show the seconds from one evaluation to the next, or set them")
    .argument("[seconds]", "1 to 86400")
    .action(async (seconds: string | undefined, options: ClientOptions) => {
      const path = "/autoscale/interval";
      const interval = Number(seconds);
      if (seconds !== undefined && !(interval > 0)) {
        throw usageError(`interval ${JSON.stringify(seconds)}: expected a number of seconds`);
      }
      const request =
        seconds === undefined
          ? ({ method: "GET", path } as const)
          : ({ method: "POST", path, body: { interval } } as const);
      await show(parts, options, { request, view: settingView });
    });
  withServer(autoscale.command("rollback"))
    .description("make config or rules what they were at a version")
    .argument("<what>", "config or rules")
    .argument("<version>", "number of the version")
    .action(async (what: string, version: string, options: ClientOptions) => {
      if (what !== "config" && what !== "rules") {
        throw usageError(`rollback ${JSON.stringify(what)}: expected config or rules`);
      }
      const body = { version: Number(version) };
      const request = { method: "POST", path: `/autoscale/${what}/rollback`, body } as const;
      await show(parts, options, { request, view: settingView });
    });
}

function ruleCommands(autoscale: Command, parts: CommandParts): void {
  const change = (options: ClientOptions, body: unknown) =>
    show(parts, options, {
      request: { method: "POST", path: "/autoscale/rules", body },
      view: settingView,
    });
  withServer(autoscale.command("rules"))
    .description("show the workflow that runs and the guards around it, or change them")
    .option("-f, --file <path>", "what is merged into them, JSON or YAML; null takes a key away")
    .action((options: ClientOptions & { readonly file?: string }) => {
      const { file, ...rest } = options;
      if (file !== undefined) return change(rest, objectOfFile(file, parts.context.cwd));
      const request = { method: "GET", path: "/autoscale/rules" } as const;
      return show(parts, rest, { request, view: settingView });
    });
  withServer(autoscale.command("use"))
    .description("have a workflow decide; none with --none")
    .argument("[workflow]", "id of the workflow")
    .option("--none", "evaluate nothing")
    .action((workflow: string | undefined, options: ClientOptions & { readonly none?: true }) => {
      if ((workflow === undefined) === (options.none !== true)) {
        throw usageError("use: expected the id of a workflow, or --none");
      }
      return change(options, { workflow_id: workflow ?? null });
    });
  const verbs = [
    ["pause", "ask for nothing until it is resumed; evaluations go on", true],
    ["resume", "ask for what evaluations decide again", false],
  ] as const;
  for (const [verb, description, paused] of verbs) {
    withServer(autoscale.command(verb))
      .description(description)
      .action((options: ClientOptions) => change(options, { guards: { paused } }));
  }
}

function approvalCommands(autoscale: Command, parts: CommandParts): void {
  for (const verb of ["approve", "reject"] as const) {
    withServer(autoscale.command(verb))
      .description(`${verb} a request to scale that waits for a human (berth get scale-requests)`)
      .argument("<request>", "its uuid")
      .option("--by <name>", "who says so")
      .action(async (uuid: string, options: ClientOptions & { readonly by?: string }) => {
        const path = `/autoscale/requests/${encodeURIComponent(uuid)}/${verb}`;
        const body = options.by === undefined ? {} : { by: options.by };
        const nowMs = Date.now();
        const view = (data: unknown) => scaleRequestsView([data], nowMs);
        await show(parts, options, { request: { method: "POST", path, body }, view });
      });
  }
}

/** Asks, prints the data, and tells warnings on standard error. */
async function show(
  parts: CommandParts,
  options: ClientOptions,
  { request, view }: { readonly request: ApiRequest; readonly view: (data: unknown) => Table },
): Promise<void> {
  const { data, warnings } = await requestAnswer(serverOf(options, parts.context), request);
  for (const warning of warnings) parts.context.stderr.write(`warning: ${warning}\n`);
  printData(parts, data, { form: options.output, view });
}

function requestOf(parts: CommandParts, options: ClientOptions, request: ApiRequest) {
  return requestData(serverOf(options, parts.context), request);
}

/** "threshold=0.7": the value as JSON where it is some, else as text. */
function memberOf(text: string): readonly [string, unknown] {
  const [key = "", ...rest] = text.split("=");
  if (key === "" || rest.length === 0) {
    throw usageError(`--set ${JSON.stringify(text)}: expected key=value`);
  }
  const value = rest.join("=");
  try {
    return [key, parseLossless(value)];
  } catch {
    return [key, value];
  }
}
