import { spawnSync } from "node:child_process";

/**
 * Whether an external program is there, for `it.skipIf`. With BERTH_REQUIRE_EXTERNAL=1 (CI) it always
 * says yes, so that a missing one fails the test instead of skipping it.
 */
export function hasExternal(file: string, args: readonly string[]): boolean {
  if (process.env.BERTH_REQUIRE_EXTERNAL === "1") return true;
  return spawnSync(file, args, { stdio: "ignore", timeout: 20_000 }).status === 0;
}
