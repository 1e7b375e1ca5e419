import { cpSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { afterEach, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, GPUS, startBlockAgent } from "../testing/block-agent.ts";
import { until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const entry = (id: string, gpus: number) => ({
  ...{ id, minInstances: 1, maxInstances: 3, resources: { gpus } },
  component: { containerRegistryInfo: { command: ["/bin/sh", "-c", "exec sleep 600"] } },
});
const stores = (directory: string) =>
  readdirSync(directory).filter((name) => name.startsWith("cluster.db"));

/** Copies the store of an agent that does not run over another one. */
function copyStore(from: string, to: string): void {
  for (const name of stores(to)) rmSync(path.join(to, name));
  for (const name of stores(from)) cpSync(path.join(from, name), path.join(to, name));
}

it("gives no GPU twice and opens its ledger when an older store was put back", async () => {
  const dataDir = await cleanup.directory();
  const backup = await cleanup.directory();
  const lives = async <T>(life: (fleet: BlockAgent) => Promise<T>): Promise<T> => {
    const ends = new Cleanup();
    try {
      return await life(await startBlockAgent(ends, { dataDir }));
    } finally {
      await ends.run();
    }
  };
  const done = { status: 200 };
  await lives(async ({ act }) => {
    const block_data = entry("old", 1);
    expect(await act({ action: "create_block", block_data })).toMatchObject(done);
  });
  copyStore(dataDir, backup);
  await lives(async ({ act }) => {
    expect(await act({ action: "remove_block", block_id: "old" })).toMatchObject(done);
    const block_data = entry("new", GPUS.length);
    expect(await act({ action: "create_block", block_data })).toMatchObject(done);
  });
  copyStore(backup, dataDir);
  await lives(async ({ act, call, blocks }) => {
    const { body } = await call("GET", "/allocations");
    const [orphan, ...others] = body.data;
    expect(others).toEqual([]);
    expect(orphan).toMatchObject({ block_id: "new", orphan: true });
    expect(orphan.gpus).toHaveLength(GPUS.length);
    const recorded = () => blocks.book.instances("old").length;
    await until("the instance that is no more to be struck out", () => recorded() === 0);
    const { block_id, instance_id } = orphan;
    const removed = await act({ action: "remove_instance", block_id, instance_id });
    expect(removed).toMatchObject(done);
    const scale = { action: "scale", block_id: "old", operation: "scale", instances_count: 1 };
    expect(await act(scale)).toMatchObject(done);
    expect(blocks.ledger.holds({ blockId: "old" })).toHaveLength(1);
    expect(await act({ action: "remove_block", block_id: "old" })).toMatchObject(done);
  });
});
