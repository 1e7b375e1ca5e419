import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { until } from "../testing/fixtures.ts";
import { isLiving } from "../testing/local-processes.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A program that tells its process's id in a file. */
function entry(id: string, pidFile: string): object {
  const command = ["/bin/sh", "-c", `echo $$ > ${pidFile}; exec sleep 600`];
  return {
    ...{ id, minInstances: 1, resources: { gpus: 1 } },
    component: { containerRegistryInfo: { command } },
  };
}

/** A store whose disk is gone once it has written an instance of the block. */
function failingBehind(store: DocumentStore, blockId: string, onGone: () => void): DocumentStore {
  let isGone = false;
  return withApply(store, async (batch) => {
    if (isGone) throw new Error("the disk is gone");
    const outcome = await store.apply(batch);
    isGone = batch.some(({ key }) => {
      return key.collection === "instances" && key.id.startsWith(`${blockId}/`);
    });
    if (!isGone) return outcome;
    onGone();
    throw new Error("the disk is gone");
  });
}

it("says the same in records and ledger when that was lost while an instance was made and another one ended", async () => {
  const dataDir = await cleanup.directory();
  const pidFile = path.join(dataDir, "other.pid");
  const life = async (options: object, lived: (agent: BlockAgent) => Promise<void>) => {
    const ends = new Cleanup();
    try {
      await lived(await startBlockAgent(ends, { dataDir, options }));
    } finally {
      await ends.run();
    }
  };
  const written = Promise.withResolvers<void>();
  const openStore = (...given: Parameters<typeof openSqliteDocumentStore>) =>
    failingBehind(openSqliteDocumentStore(...given), "late", written.resolve);
  let recorded: readonly string[] = [];
  await life({ openStore }, async ({ act, blocks }) => {
    const other = await act({ action: "create_block", block_data: entry("other", pidFile) });
    expect(other.status).toBe(200);
    await until("it to tell its id", () => existsSync(pidFile));
    const block_data = entry("late", path.join(dataDir, "late.pid"));
    await act({ action: "create_block", block_data, wait: false });
    await written.promise;
    const held = blocks.ledger.holds({ blockId: "late" });
    recorded = held.flatMap(({ claim }) => claim.devices.map(({ uuid }) => uuid));
  });
  rmSync(path.join(dataDir, "processes/blocks/other"), { recursive: true });
  const pid = Number(readFileSync(pidFile, "utf8"));
  process.kill(pid, "SIGKILL");
  await until("the other one to be gone", () => !isLiving(pid));
  const database = new DatabaseSync(path.join(dataDir, "cluster.db"));
  const rows = database.prepare("SELECT body FROM documents WHERE collection = 'instances'").all();
  expect(rows).toHaveLength(2);
  database.exec("DELETE FROM documents WHERE collection IN ('ledger', 'ledger_nodes')");
  database.close();
  await life({}, async ({ act, blocks }) => {
    const { book, ledger } = blocks;
    const isDone = () => book.block("late")?.phase === "running";
    await until("the creation to go on", isDone, 30_000);
    const [record] = book.instances("late");
    const [hold] = ledger.holds({ blockId: "late" });
    const uuids = record?.devices.map(({ uuid }) => uuid);
    expect(uuids).toEqual(hold?.claim.devices.map(({ uuid }) => uuid));
    // Otherwise nothing has been shown: the place that the first life chose is not free, or is chosen again.
    expect(uuids).not.toEqual(recorded);
    expect([book.instances("other"), ledger.holds({ blockId: "other" })]).toEqual([[], []]);
    for (const block_id of ["late", "other"]) {
      expect((await act({ action: "remove_block", block_id })).status).toBe(200);
    }
  });
});
