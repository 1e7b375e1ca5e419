import type { Command } from "@berth/proto";

/** Where a command waits for its turn: `slow` are those that may run policies, or wait for something. */
export type CommandLane = "quick" | "slow";

/** Requests that run no policy and wait for nothing, by method and path. */
const QUICK: readonly (readonly [method: string, path: RegExp])[] = [
  ["GET", /^/],
  ["POST", /^(\/blocks)?\/blocks\/query$/],
  ["POST", /^\/leases(\/[^/]+\/renew)?$/],
  ["DELETE", /^\/leases\/[^/]+$/],
];

/** The lane of a command. A request that is not known to be quick counts as slow. Pure. */
export function laneOf({ order }: Pick<Command, "order">): CommandLane {
  if (order.case === "echo") return order.value.holdMs > 0 ? "slow" : "quick";
  if (order.case !== "call") return "slow";
  const { method } = order.value;
  const path = (order.value.path.split("?")[0] ?? "").replace(/(?<=.)\/$/, "");
  const isQuick = QUICK.some(([known, pattern]) => known === method && pattern.test(path));
  return isQuick ? "quick" : "slow";
}
