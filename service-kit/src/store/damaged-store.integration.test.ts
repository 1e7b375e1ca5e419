import { mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../clock.ts";
import { destroyPageOf, replaceText } from "../testing/damage.ts";
import { allPages } from "./all-pages.ts";
import type { DocumentStore } from "./document-store.ts";
import { KeyedDocuments } from "./keyed-documents.ts";
import { openSqliteDocumentStore, type SqliteStoreOptions } from "./sqlite-document-store.ts";

const DOCUMENTS = 400;
const PAGE_BYTES = 4_096;
const THINGS = { orgId: "o", collection: "things" };
const key = (id: string) => ({ ...THINGS, id });
const idOf = (index: number) => `thing-${String(index).padStart(4, "0")}`;

let directory: string;
let file: string;
let store: DocumentStore | undefined;

/** A closed store of 400 documents on some 200 pages. */
beforeEach(async () => {
  directory = mkdtempSync(path.join(os.tmpdir(), "berth-damage-"));
  file = path.join(directory, "store.db");
  const bodies = Array.from({ length: DOCUMENTS }, (_none, index) => ({
    name: `body of ${idOf(index)}`,
    text: "x".repeat(1_500),
  }));
  const writes = bodies.map((body, index) => {
    return { kind: "insert", key: key(idOf(index)), body } as const;
  });
  const filled = openSqliteDocumentStore(file, systemClock);
  await filled.apply(writes);
  await filled.close();
});

afterEach(async () => {
  await store?.close();
  store = undefined;
  rmSync(directory, { recursive: true });
});

function open(options: SqliteStoreOptions = {}): DocumentStore {
  store = openSqliteDocumentStore(file, systemClock, options);
  return store;
}

const unavailable = (message: string) =>
  expect.objectContaining({ reason: "UNAVAILABLE", message });
const unreadable = () =>
  unavailable(`the database ${file} is damaged: database disk image is malformed`);

describe("a database with a destroyed page", () => {
  beforeEach(() => destroyPageOf(file, `body of ${idOf(200)}`));

  it("is not opened, and the refusal says what is damaged and what to do", () => {
    const why = "damaged: Tree \\d+ page \\d+: btreeInitPage\\(\\) returns error code 11";
    const wayOut = "restore it from a backup, or move it away to begin anew";
    const message = new RegExp(`^cannot open the database ${file}: ${why}; ${wayOut}$`);
    expect(() => open()).toThrow(expect.objectContaining({ reason: "UNAVAILABLE" }));
    expect(() => open()).toThrow(message);
  });

  it("is left as it was when it is not opened", () => {
    const before = statSync(file).mtimeMs;
    expect(() => open()).toThrow("damaged");
    expect(statSync(file).mtimeMs).toBe(before);
  });

  it("is opened where it is too large to be checked, and found by a scan that nobody asks for", async () => {
    const opened = open({ checkedBytes: PAGE_BYTES });
    expect(await opened.storeId()).toMatch(/^[0-9a-f-]{36}$/);
    await vi.waitFor(() => expect(opened.storeId()).rejects.toThrow(unreadable()), 5_000);
    expect((await opened.get(key(idOf(0))))?.revision).toBe(1);
  });

  it("is named by what meets it, where it holds history, and by readiness from then on", async () => {
    const opened = open({ durability: "process" });
    expect(await opened.storeId()).toMatch(/^[0-9a-f-]{36}$/);
    expect((await opened.get(key(idOf(0))))?.revision).toBe(1);
    await expect(opened.get(key(idOf(200)))).rejects.toThrow(unreadable());
    await expect(opened.list(THINGS)).rejects.toThrow(unreadable());
    const write = { kind: "delete", key: key(idOf(200)) } as const;
    await expect(opened.apply([write])).rejects.toThrow(unreadable());
    await expect(opened.storeId()).rejects.toThrow(unreadable());
  });
});

describe("a database that was cut off", () => {
  it.each([
    ["between two pages", 50 * PAGE_BYTES],
    ["in a page", 50 * PAGE_BYTES + 100],
    ["by one page", -PAGE_BYTES],
  ])("%s is not opened, and the refusal names it", (_where, size) => {
    truncateSync(file, size < 0 ? statSync(file).size + size : size);
    expect(() => open()).toThrow(
      `cannot open the database ${file}: damaged: database disk image is malformed; restore it`,
    );
  });
});

describe("a document whose bytes were changed", () => {
  const damaged = () =>
    unavailable(`the database ${file} is damaged: document things/${idOf(200)} is no JSON`);
  beforeEach(() => replaceText(file, `{"name":"body of ${idOf(200)}"`, `?`));

  it("is named by whatever reads it", async () => {
    const opened = open();
    await expect(opened.get(key(idOf(200)))).rejects.toThrow(damaged());
    await expect(opened.list(THINGS)).rejects.toThrow(damaged());
    const documents = new KeyedDocuments({ store: opened, ...THINGS });
    await expect(documents.load()).rejects.toThrow(damaged());
  });

  it("ends a walk through its collection behind the pages before it, and is named", async () => {
    const seen: string[] = [];
    const walk = async () => {
      for await (const { id } of allPages(open(), THINGS)) seen.push(id);
    };
    await expect(walk()).rejects.toThrow(damaged());
    expect(seen).toEqual(Array.from({ length: 200 }, (_none, index) => idOf(index)));
  });

  it("says nothing of what is in it", async () => {
    const thrown: unknown = await open()
      .get(key(idOf(200)))
      .catch((why: unknown) => why);
    expect(thrown).toMatchObject({ reason: "UNAVAILABLE" });
    expect(thrown).not.toHaveProperty("cause");
  });

  it("can be replaced and removed, and does not keep others from being read", async () => {
    const opened = open();
    expect((await opened.get(key(idOf(199))))?.revision).toBe(1);
    expect(await opened.storeId()).toMatch(/^[0-9a-f-]{36}$/);
    const body = { name: "anew" };
    await opened.apply([{ kind: "replace", key: key(idOf(200)), body }]);
    expect((await opened.get(key(idOf(200))))?.body).toEqual(body);
    expect(await opened.list(THINGS)).toHaveLength(DOCUMENTS);
  });
});
