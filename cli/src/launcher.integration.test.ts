import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const LAUNCHER = fileURLToPath(new URL("../bin/berth.js", import.meta.url));

async function run(file: string, args: readonly string[]) {
  const child = spawn(process.execPath, [file, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data) => {
    stdout += String(data);
  });
  child.stderr.on("data", (data) => {
    stderr += String(data);
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, stdout, stderr };
}

describe("bin/berth.js", () => {
  let dir: string;

  /** A copy that takes every Node for too old, in a place of its own. */
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "berth-bin-"));
    mkdirSync(join(dir, "bin"));
    writeFileSync(join(dir, "package.json"), '{"type":"module"}');
    const source = readFileSync(LAUNCHER, "utf8");
    writeFileSync(
      join(dir, "bin/berth.js"),
      source.replace("PINNED_MAJOR = 26", "PINNED_MAJOR = 999"),
    );
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  function pin(script: string): void {
    mkdirSync(join(dir, "node_modules/node/bin"), { recursive: true });
    writeFileSync(join(dir, "node_modules/node/package.json"), "{}");
    const binary = join(dir, "node_modules/node/bin/node");
    writeFileSync(binary, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }

  it("runs the command itself under a Node that is new enough", async () => {
    expect(await run(LAUNCHER, ["version"])).toMatchObject({ code: 0, stderr: "" });
  });

  it("hands its arguments over to the pinned Node and ends with its exit code", async () => {
    pin('shift; echo "$@"; exit 3');
    const ended = await run(join(dir, "bin/berth.js"), ["get", "nodes"]);
    expect(ended).toEqual({ code: 3, stdout: "get nodes\n", stderr: "" });
  });

  it("passes signals on and ends as the pinned Node ends", async () => {
    pin('trap "exit 7" TERM; kill -TERM "$BERTH_LAUNCHER_PID"; while :; do sleep 0.05; done');
    expect((await run(join(dir, "bin/berth.js"), ["up"])).code).toBe(7);
  });

  it("says what to run when there is no pinned Node", async () => {
    const ended = await run(join(dir, "bin/berth.js"), ["up"]);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/^error: the Node that Berth pins is not installed.*npm ci.*\n$/);
  });
});
