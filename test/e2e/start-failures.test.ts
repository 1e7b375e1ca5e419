import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { destroyPageOf, replaceText } from "@berth/service-kit/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../support/fleet.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const MAINS = {
  "control-plane": path.join(ROOT, "control-plane/src/main.ts"),
  "cluster-agent": path.join(ROOT, "cluster-agent/src/main.ts"),
} as const;
const DATABASES = { "control-plane": "control-plane.db", "cluster-agent": "cluster.db" } as const;
type Program = keyof typeof MAINS;

let root: string;

/** Starts each program once, so that there are databases to damage. */
beforeAll(async () => {
  root = mkdtempSync(path.join(tmpdir(), "berth-start-"));
  const programs = Object.keys(MAINS) as Program[];
  await Promise.all(
    programs.map(async (program) => {
      const directory = templateOf(program);
      mkdirSync(directory);
      expect((await start(program, directory, { stopWhenStarted: true })).code).toBe(0);
      addUnreadDocuments(path.join(directory, DATABASES[program]));
    }),
  );
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

const templateOf = (program: Program) => path.join(root, program);

/** A data directory of a test's own, with what the program's first start has made or with nothing. */
function dataOf(program: Program, content: "as started" | "empty") {
  const directory = mkdtempSync(path.join(root, "data-"));
  if (content === "as started") cpSync(templateOf(program), directory, { recursive: true });
  return { directory, file: path.join(directory, DATABASES[program]) };
}

/** Documents that no program reads when it starts, on pages of their own. */
function addUnreadDocuments(file: string): void {
  const database = new DatabaseSync(file);
  const insert = database.prepare("INSERT INTO documents VALUES ('o', 'unread', ?, 1, ?, '', '')");
  database.exec("BEGIN");
  for (let id = 100; id < 200; id += 1) {
    insert.run(String(id), JSON.stringify({ text: `unread ${id} ${"x".repeat(2_000)}` }));
  }
  database.exec("COMMIT");
  database.close();
}

interface Limits {
  /** Most KiB per file. */
  readonly fileKiB?: number;
  /** Size of a disk of its own below the data directory, in MiB. */
  readonly diskMiB?: number;
}

/** Whether this machine lets a user mount a disk of its own for a process. */
const MAY_MOUNT = spawnSync("unshare", ["-Urm", "mount", "-t", "tmpfs", "x", "/mnt"]).status === 0;

/** POSIX sh that becomes the program, under its limits. */
function script({ fileKiB, diskMiB }: Limits): string {
  // Blocks of 512 bytes.
  const limit = fileKiB === undefined ? "" : `ulimit -f ${fileKiB * 2}; `;
  if (diskMiB === undefined) return `${limit}exec "$0" "$1"`;
  const mounted = `mount -t tmpfs -o size=${diskMiB}m x "$BERTH_DATA_DIR" && exec "$0" "$1"`;
  return `${limit}exec unshare -Urm /bin/sh -c '${mounted}' "$0" "$1"`;
}

/** Starts a program under limits and gives its end. */
async function start(
  program: Program,
  directory: string,
  options: Limits & { stopWhenStarted?: boolean } = {},
) {
  const ports = await freePorts();
  const env = {
    ...process.env,
    // Each start after the first takes half the time.
    NODE_COMPILE_CACHE: path.join(root, "compiled"),
    BERTH_DATA_DIR: directory,
    // Its own, below its data directory.
    BERTH_SANDBOX_DIR: "",
    BERTH_HTTP_PORT: String(ports.http),
    BERTH_WS_PORT: String(ports.ws),
    BERTH_AGENT_PORT: String(ports.agent),
    BERTH_NODE_PORT: String(ports.node),
  };
  const child = spawn("/bin/sh", ["-c", script(options), process.execPath, MAINS[program]], {
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
  const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(late);
  return { code, stderr, stdout };
}

/** The one line by which a program says why it has not started; fails when it ends otherwise. */
async function refusal(program: Program, directory: string, options: Limits = {}) {
  const { code, stderr } = await start(program, directory, options);
  expect(stderr).toMatch(/^[^\n]+\n$/);
  expect(stderr).toContain(`${program}: `);
  expect(code).toBe(1);
  return stderr.trimEnd();
}

const WAY_OUT = "restore it from a backup, or move it away to begin anew";

describe.each(["control-plane", "cluster-agent"] as const)(
  "a %s that cannot start",
  { concurrent: true },
  (program) => {
    it("says that its database is not one", async () => {
      const { directory, file } = dataOf(program, "empty");
      writeFileSync(file, "garbage ".repeat(1_000));
      expect(await refusal(program, directory)).toBe(
        `${program}: cannot open the database ${file}: file is not a database; ${WAY_OUT}`,
      );
    });

    it("says that its database is damaged", async () => {
      const { directory, file } = dataOf(program, "as started");
      // Nothing that is read at the start lies on this page.
      destroyPageOf(file, "unread 150 ");
      const line = await refusal(program, directory);
      expect(line).toContain(`${program}: cannot open the database ${file}: damaged: Tree `);
      expect(line).toContain(`; ${WAY_OUT}`);
    });

    it("says that the schema of its database is damaged", async () => {
      const { directory, file } = dataOf(program, "as started");
      replaceText(file, "CREATE TABLE documents", "\u0000".repeat(22));
      const line = await refusal(program, directory);
      expect(line).toContain(`${program}: cannot open the database ${file}: damaged: malformed`);
      expect(line).toContain(`; ${WAY_OUT}`);
    });

    it("says that its database was cut off", async () => {
      const { directory, file } = dataOf(program, "as started");
      truncateSync(file, statSync(file).size - 10_000);
      expect(await refusal(program, directory)).toBe(
        `${program}: cannot open the database ${file}: damaged: database disk image is malformed; ${WAY_OUT}`,
      );
    });

    it("says which document is damaged that it reads to start", async () => {
      const { directory, file } = dataOf(program, "as started");
      replaceText(file, '{"', '?"');
      expect(await refusal(program, directory)).toMatch(
        new RegExp(`^${program}: the database ${file} is damaged: document \\w+/\\w+ is no JSON$`),
      );
    });

    it("says that the disk is full", async () => {
      const { directory, file } = dataOf(program, "empty");
      const line = await refusal(program, directory, { fileKiB: 8 });
      expect(line).toContain(file);
      expect(line).toMatch(/full|I\/O/);
    });

    it("says that a newer Berth wrote its database", async () => {
      const { directory, file } = dataOf(program, "empty");
      const database = new DatabaseSync(file);
      database.exec("PRAGMA user_version = 999");
      database.close();
      expect(await refusal(program, directory)).toContain(
        `cannot open the database ${file}: its schema version 999 is newer than `,
      );
    });

    it("says that its data directory is a file", async () => {
      const { directory } = dataOf(program, "empty");
      rmSync(directory, { recursive: true });
      writeFileSync(directory, "");
      expect(await refusal(program, directory)).toContain(directory);
    });
  },
);

it.skipIf(!MAY_MOUNT)(
  "a control-plane without room for the snapshot of its sandbox says how much is free and needed",
  async () => {
    const { directory } = dataOf("control-plane", "empty");
    const line = await refusal("control-plane", directory, { diskMiB: 20 });
    const sandbox = path.join(directory, "sandbox");
    expect(line).toContain(`the policy sandbox has too little space in ${sandbox}: `);
    expect(line).toMatch(
      /: 1\d\.\d MiB free, 64 MiB needed; make room there, or set BERTH_DATA_DIR/,
    );
  },
);
