import { spawnSync } from "node:child_process";

/** Python that can import `websockets`: Debian's, or the first one on the PATH. */
export function pythonWithWebsockets(): string {
  const found = ["/usr/bin/python3", "python3"].find(
    (python) => spawnSync(python, ["-c", "import websockets"], { stdio: "ignore" }).status === 0,
  );
  return found ?? "python3";
}
