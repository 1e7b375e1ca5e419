import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { documentStoreContract } from "../testing/document-store-contract.ts";
import { openSqliteDocumentStore } from "./sqlite-document-store.ts";

documentStoreContract("SQLite", () => {
  const directory = temporaryDirectory();
  return {
    open: () => openSqliteDocumentStore(path.join(directory, "data", "store.db"), systemClock),
    dispose: () => rmSync(directory, { recursive: true }),
  };
});

describe("openSqliteDocumentStore", () => {
  let directory: string;
  let file: string;
  const open = () => openSqliteDocumentStore(file, systemClock);
  beforeEach(() => {
    directory = temporaryDirectory();
    file = path.join(directory, "store.db");
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it("refuses a second opener while the first lives, and lets it in afterwards", async () => {
    const first = open();
    expect(open).toThrow(`cannot open the database ${file}: another program has it open`);
    await first.close();
    await open().close();
  });

  it("refuses writes when the disk is full, says so, and keeps what it had", () => {
    const program = new URL("../testing/fill-store.ts", import.meta.url).pathname;
    const script = 'ulimit -f 800; exec "$0" "$1" "$2"';
    const { stdout } = spawnSync("/bin/sh", ["-c", script, process.execPath, program, file], {
      encoding: "utf8",
      timeout: 30_000,
    });
    const { written, refusal, kept } = JSON.parse(stdout);
    expect(refusal).toMatch(/^UNAVAILABLE: the database \/.*\/store\.db cannot be written: /);
    expect(written).toBeGreaterThan(10);
    expect(kept).toBe(written);
  });

  it("keeps what was acknowledged when its process is killed, and lets the next one in", async () => {
    const module = JSON.stringify(new URL("./sqlite-document-store.ts", import.meta.url).href);
    const clock = JSON.stringify(new URL("../clock.ts", import.meta.url).href);
    const code = `
      const { openSqliteDocumentStore } = await import(${module});
      const { systemClock } = await import(${clock});
      const store = openSqliteDocumentStore(${JSON.stringify(file)}, systemClock);
      const key = { orgId: "o", collection: "c", id: "a" };
      await store.apply([{ kind: "insert", key, body: { kept: true } }]);
      await store.raise("term");
      process.stdout.write("acknowledged");
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    expect(open).toThrow("another program has it open");
    child.kill("SIGKILL");
    await once(child, "exit");
    const store = open();
    const found = await store.get({ orgId: "o", collection: "c", id: "a" });
    expect(found?.body).toEqual({ kept: true });
    expect(await store.raise("term")).toBe(2);
    await store.close();
  });

  it("names the file when it is not a database", () => {
    writeFileSync(file, "this is a text, and long enough to be read as a header ".repeat(100));
    expect(open).toThrow(`cannot open the database ${file}: file is not a database`);
  });

  it("names the file when it was cut off", async () => {
    await open().close();
    truncateSync(file, 100);
    expect(open).toThrow(`cannot open the database ${file}: `);
  });

  it("refuses a newer schema version and leaves the file as it is", async () => {
    await open().close();
    setVersion(file, 99);
    expect(open).toThrow("its schema version 99 is newer than 1: upgrade Berth");
    expect(readVersion(file)).toBe(99);
  });

  it("names the file when its directory cannot be made or written", () => {
    writeFileSync(path.join(directory, "plain"), "");
    file = path.join(directory, "plain", "store.db");
    expect(open).toThrow(`cannot open the database ${file}: `);
    file = directory;
    expect(open).toThrow(`cannot open the database ${directory}: unable to open database file`);
  });

  it("fails with UNAVAILABLE", () => {
    file = directory;
    expect(open).toThrow(expect.objectContaining({ reason: "UNAVAILABLE" }));
  });

  it("gives two stores two ids", async () => {
    const one = open();
    file = path.join(directory, "other.db");
    const two = open();
    expect(await one.storeId()).not.toBe(await two.storeId());
    await one.close();
    await two.close();
  });
});

function temporaryDirectory(): string {
  return mkdtempSync(path.join(os.tmpdir(), "berth-store-"));
}

function setVersion(file: string, version: number): void {
  const database = new DatabaseSync(file);
  database.exec(`PRAGMA user_version=${version}`);
  database.close();
}

function readVersion(file: string): number {
  const database = new DatabaseSync(file);
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
  database.close();
  return version;
}
