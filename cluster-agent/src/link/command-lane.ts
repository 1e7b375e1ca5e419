import type { Command } from "@berth/proto";
import { isJsonObject } from "@berth/service-kit";

/**
 * Where a command waits for its turn: `slow` are those that may run policies, or wait for something; `trial` are dry runs, which
 * come in numbers and change nothing.
 */
export type CommandLane = "quick" | "slow" | "trial";

/** Requests that run no policy and wait for nothing, by method and path. */
const QUICK: readonly (readonly [method: string, path: RegExp])[] = [
  ["GET", /^/],
  ["POST", /^(\/blocks)?\/blocks\/query$/],
  ["POST", /^\/leases(\/[^/]+\/renew)?$/],
  ["DELETE", /^\/leases\/[^/]+$/],
];

const ACTION = /^(\/controller)?\/executeAction$/;

/** The lane of a command. A request that is not known to be quick counts as slow. Pure. */
export function laneOf({ order }: Pick<Command, "order">): CommandLane {
  if (order.case === "echo") return order.value.holdMs > 0 ? "slow" : "quick";
  if (order.case !== "call") return "slow";
  const { method, bodyJson = "" } = order.value;
  const path = (order.value.path.split("?")[0] ?? "").replace(/(?<=.)\/$/, "");
  const isQuick = QUICK.some(([known, pattern]) => known === method && pattern.test(path));
  if (isQuick) return "quick";
  return method === "POST" && ACTION.test(path) && isDryRun(bodyJson) ? "trial" : "slow";
}

function isDryRun(bodyJson: string): boolean {
  try {
    const body: unknown = JSON.parse(bodyJson);
    return isJsonObject(body) && body.action === "dry_run";
  } catch {
    // The API says what is wrong with it.
    return false;
  }
}
