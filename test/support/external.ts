import { spawnSync } from "node:child_process";

/**
 * Whether an external program is there, for `it.skipIf`. With BERTH_REQUIRE_EXTERNAL=1 (CI) it always
 * says yes, so that a missing one fails the test instead of skipping it.
 */
export function hasExternal(file: string, args: readonly string[]): boolean {
  if (process.env.BERTH_REQUIRE_EXTERNAL === "1") return true;
  return spawnSync(file, args, { stdio: "ignore", timeout: 20_000 }).status === 0;
}

/** Python that can import `websockets`: Debian's, or the first one on the PATH. */
export function pythonWithWebsockets(): string {
  const found = ["/usr/bin/python3", "python3"].find(
    (python) => spawnSync(python, ["-c", "import websockets"], { stdio: "ignore" }).status === 0,
  );
  return found ?? "python3";
}
