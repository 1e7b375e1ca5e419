import { spawn } from "node:child_process";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freePorts } from "../support/fleet.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const MAINS = {
  "control-plane": path.join(ROOT, "control-plane/src/main.ts"),
  "cluster-agent": path.join(ROOT, "cluster-agent/src/main.ts"),
} as const;
const DATABASES = { "control-plane": "control-plane.db", "cluster-agent": "cluster.db" } as const;
type Program = keyof typeof MAINS;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-start-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Starts a program, with at most so many KiB per file, and gives its end. */
async function start(
  program: Program,
  options: { fileKiB?: number; stopWhenStarted?: boolean } = {},
) {
  const ports = await freePorts();
  const env = {
    ...process.env,
    BERTH_DATA_DIR: directory,
    BERTH_HTTP_PORT: String(ports.http),
    BERTH_WS_PORT: String(ports.ws),
    BERTH_AGENT_PORT: String(ports.agent),
    BERTH_NODE_PORT: String(ports.node),
  };
  // Blocks of 512 bytes in POSIX sh; the shell becomes the program.
  const limit = options.fileKiB === undefined ? "" : `ulimit -f ${options.fileKiB * 2}; `;
  const script = `${limit}exec "$0" "$1"`;
  const child = spawn("/bin/sh", ["-c", script, process.execPath, MAINS[program]], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
    if (options.stopWhenStarted && stdout.includes('"msg":"started"')) child.kill("SIGTERM");
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const late = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(late);
  return { code, stderr, stdout };
}

describe.each(["control-plane", "cluster-agent"] as const)("a %s that cannot start", (program) => {
  const file = DATABASES[program];

  it("says that its database is not one", async () => {
    writeFileSync(path.join(directory, file), "garbage ".repeat(1_000));
    const { code, stderr } = await start(program);
    expect(code).toBe(1);
    expect(stderr).toContain(`cannot open the database ${path.join(directory, file)}`);
    expect(stderr).toContain("not a database");
  });

  it("says that its database is damaged", async () => {
    expect((await start(program, { stopWhenStarted: true })).code).toBe(0);
    const copy = path.join(directory, file);
    const bytes = Buffer.alloc(4_096, 0xa5);
    const handle = openSync(copy, "r+");
    for (let at = 4_096; at < fstatSync(handle).size; at += 4_096) {
      writeSync(handle, bytes, 0, bytes.length, at);
    }
    closeSync(handle);
    const { code, stderr } = await start(program);
    expect(code).toBe(1);
    expect(stderr).toContain(copy);
    expect(stderr).toMatch(/malformed|corrupt/);
  });

  it("says that the disk is full", async () => {
    const { code, stderr } = await start(program, { fileKiB: 8 });
    expect(code).toBe(1);
    expect(stderr).toContain(path.join(directory, file));
    expect(stderr).toMatch(/full|I\/O/);
  });

  it("says that a newer Berth wrote its database", async () => {
    const database = new DatabaseSync(path.join(directory, file));
    database.exec("PRAGMA user_version = 999");
    database.close();
    const { code, stderr } = await start(program);
    expect(code).toBe(1);
    expect(stderr).toContain("newer");
  });

  it("says that its data directory is a file", async () => {
    rmSync(directory, { recursive: true });
    writeFileSync(directory, "");
    const { code, stderr } = await start(program);
    expect(code).toBe(1);
    expect(stderr).toContain(directory);
  });
});
