import type { Command } from "commander";
import { showList } from "./blocks.ts";
import { type ClientOptions, type CommandParts, withServer } from "./command-parts.ts";
import { quotasView, scaleRequestsView, subjectsView } from "./org-views.ts";

interface OrgListOptions extends ClientOptions {
  readonly limit?: string;
  readonly state?: string;
}

/** Adds `berth get quotas|subjects|scale-requests`. */
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
}
