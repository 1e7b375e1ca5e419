import type { Command } from "commander";
import { evaluationsView, workflowsView } from "./autoscale-views.ts";
import { showList } from "./blocks.ts";
import { type ClientOptions, type CommandParts, withServer } from "./command-parts.ts";
import { quotasView, scaleRequestsView, subjectsView } from "./org-views.ts";

interface OrgListOptions extends ClientOptions {
  readonly limit?: string;
  readonly state?: string;
}

/** Adds `berth get quotas|subjects|scale-requests|workflows|evaluations`. */
export function getOrgCommands(get: Command, parts: CommandParts): void {
  withServer(get.command("quotas"))
    .description("list who may have how many replicas and GPUs, and what is used of it")
    .option("--limit <count>", "most quotas")
    .action(async (options: OrgListOptions) => {
      await showList({ parts, options, path: "/quotas", view: quotasView, noun: "quotas" });
    });
  withServer(get.command("subjects"))
    .description("list what subjects use, as they report it or by telemetry")
    .option("--limit <count>", "most subjects")
    .action(async (options: OrgListOptions) => {
      const path = "/subject-metrics";
      await showList({ parts, options, path, view: subjectsView, noun: "subjects" });
    });
  withServer(get.command("scale-requests"))
    .description("list requests to scale subjects, and what became of them")
    .option("--state <state>", "of this state only: pending, dispatched, confirmed, …")
    .option("--limit <count>", "most requests")
    .action(async (options: OrgListOptions) => {
      const nowMs = Date.now();
      const view = (data: unknown) => scaleRequestsView(data, nowMs);
      const path = "/autoscale/requests";
      await showList({ parts, options, path, view, noun: "requests" });
    });
  const nowMs = () => Date.now();
  withServer(get.command("workflows"))
    .description("list the workflows that the autoscaler can run")
    .action(async (options: OrgListOptions) => {
      const view = (data: unknown) => workflowsView(data, nowMs());
      await showList({ parts, options, path: "/workflows", view, noun: "workflows" });
    });
  withServer(get.command("evaluations"))
    .description("list what the autoscaler evaluated, the newest first")
    .option("--limit <count>", "most evaluations")
    .action(async (options: OrgListOptions) => {
      const view = (data: unknown) => evaluationsView(data, nowMs());
      const path = "/autoscale/evaluations";
      await showList({ parts, options, path, view, noun: "evaluations" });
    });
}
