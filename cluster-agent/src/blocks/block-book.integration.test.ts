import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openSqliteDocumentStore, parseLossless, silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { entryOf, instanceOf } from "../testing/block-fixtures.ts";
import { HandClock } from "../testing/fixtures.ts";
import { parseBlockEntry } from "./block-entry.ts";
import { openBlockBook } from "./open-block-book.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "berth-blocks-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function openBook() {
  const clock = new HandClock();
  const store = openSqliteDocumentStore(path.join(directory, "cluster.db"), clock);
  const logger = silentLogger;
  return { store, book: await openBlockBook({ store, orgId: "default_org", clock, logger }) };
}

it("finds blocks and instances again in the file of its store, with the numbers as they were written", async () => {
  const text = '{"id":"kept","parameters":{"t":1.0,"seed":12345678901234567890}}';
  const first = await openBook();
  await first.book.create(parseBlockEntry(parseLossless(text)), { operationId: "op-1" });
  await first.book.create(entryOf("gone"), { operationId: "op-2" });
  for (const id of ["kept", "gone"]) await first.book.putInstance(instanceOf(id, `in-${id}`));
  await first.book.setPhase("kept", "running");
  await first.book.remove("gone");
  const blocks = first.book.blocks();
  const instances = first.book.instances();
  await first.store.close();

  const second = await openBook();
  expect(second.book.blocks()).toEqual(blocks);
  expect(second.book.instances()).toEqual(instances);
  expect(blocks).toMatchObject([{ id: "kept", json: text, phase: "running" }]);
  expect(instances).toEqual([instanceOf("kept", "in-kept")]);
  expect(second.book.unreadable()).toEqual([]);
  await second.store.close();
});
