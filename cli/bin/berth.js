#!/usr/bin/env node
// Plain JavaScript for any Node >= 18: runs the command itself under the Node that this package pins,
// or hands over to that Node when the machine's own is older.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const PINNED_MAJOR = 26;

if (Number(process.versions.node.split(".")[0]) >= PINNED_MAJOR) {
  await import("../src/main.ts");
} else {
  const binary = pinnedNode();
  if (binary === undefined) fail("the Node that Berth pins is not installed");
  else handOver(binary);
}

/** Path of the pinned binary, undefined when its package or the binary itself is missing. */
function pinnedNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const binary = join(dirname(manifest), "bin", "node");
    return existsSync(binary) ? binary : undefined;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "MODULE_NOT_FOUND") {
      return undefined;
    }
    throw thrown;
  }
}

/** Runs this file again under `binary` and ends as it ends. */
function handOver(binary) {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  let child;
  // A terminal's Ctrl-C reaches both processes: the child takes a second signal as the same request.
  // Listened to before the child runs, so that no signal can end this process alone.
  for (const signal of signals) process.on(signal, () => child?.kill(signal));
  child = spawn(binary, process.argv.slice(1), {
    stdio: "inherit",
    // `berth up` leaves when this process is gone, even after kill -9.
    env: { ...process.env, BERTH_LAUNCHER_PID: String(process.pid) },
  });
  child.on("error", (error) => fail(`the Node that Berth pins cannot be run (${error.message})`));
  child.on("exit", (code, signal) => {
    for (const name of signals) process.removeAllListeners(name);
    if (signal === null) process.exit(code ?? 1);
    process.kill(process.pid, signal);
  });
}

function fail(why) {
  process.stderr.write(
    `error: ${why}, and this Node is ${process.version} (>= ${PINNED_MAJOR} is needed): run \`npm ci\`\n`,
  );
  process.exit(1);
}
