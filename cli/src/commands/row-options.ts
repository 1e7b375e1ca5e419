import { type Command, Option } from "commander";
import { usageError } from "../cli-error.ts";
import type { FleetResource, RowFilter } from "../client/fleet-rows.ts";

/** Options of the commands that show rows. */
export interface RowOptions {
  readonly cluster?: string;
  readonly node?: string;
  readonly state?: string;
  /** Seconds. */
  readonly interval: string;
}

const GPU_STATES = ["free", "leased", "allocated", "cordoned", "unhealthy", "unknown"];
const MIN_INTERVAL_S = 0.2;
const MAX_INTERVAL_S = 60;

/** Adds the filters that a resource has. */
export function withRowFilter(command: Command, resource: FleetResource): Command {
  command.option("--cluster <id>", "of this cluster only");
  if (resource === "clusters") return command;
  command.option("--node <id>", "of this node only");
  if (resource === "nodes") return command;
  return command.addOption(
    new Option("--state <state>", "GPUs in this state only").choices(GPU_STATES),
  );
}

/** The filter that the options ask for. Throws a usage error for one that the resource does not have. */
export function rowFilter(options: Omit<RowOptions, "interval">, of: FleetResource): RowFilter {
  const { cluster, node, state } = options;
  if (node !== undefined && of === "clusters") throw usageError("--node: clusters have none");
  if (state !== undefined && of !== "gpus") throw usageError("--state: only gpus have one");
  return {
    ...(cluster === undefined ? {} : { cluster }),
    ...(node === undefined ? {} : { node }),
    ...(state === undefined ? {} : { state }),
  };
}

/** Reads `--interval`; throws a usage error for anything but 0.2 to 60 seconds. */
export function intervalMs(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds >= MIN_INTERVAL_S && seconds <= MAX_INTERVAL_S) {
    return Math.round(seconds * 1_000);
  }
  const expected = `seconds, ${MIN_INTERVAL_S} to ${MAX_INTERVAL_S}`;
  throw usageError(`--interval ${JSON.stringify(text)}: expected ${expected}`);
}
