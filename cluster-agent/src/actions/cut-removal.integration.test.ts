import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, expect, it } from "vitest";
import { Cleanup, startAgent } from "../testing/agent.ts";
import { startBlockAgent } from "../testing/block-agent.ts";
import { until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A store whose disk is gone when a node's record shall be deleted. */
function failingAtDeletion(store: DocumentStore, onGone: () => void): DocumentStore {
  let isGone = false;
  return withApply(store, async (batch) => {
    isGone ||= batch.some(({ kind, key }) => kind === "delete" && key.collection === "nodes");
    if (!isGone) return store.apply(batch);
    onGone();
    throw new Error("the disk is gone");
  });
}

it("does not wait for a node that it has refused for good and died before it forgot it", async () => {
  const dataDir = await cleanup.directory();
  const reached = Promise.withResolvers<void>();
  const openStore = (...given: Parameters<typeof openSqliteDocumentStore>) =>
    failingAtDeletion(openSqliteDocumentStore(...given), reached.resolve);
  const firstLife = new Cleanup();
  try {
    const { call } = await startBlockAgent(firstLife, { dataDir, options: { openStore } });
    await call("DELETE", "/cluster-actions/remove-node/node-a?wait=false");
    await reached.promise;
  } finally {
    await firstLife.run();
  }
  // Far longer than the test may last.
  const agent = await startAgent(cleanup, { dataDir, nodeTtlMs: 600_000 }, { process });
  await until("the ledger to open", () => agent.blocks?.ledger.status.state === "open");
  await until("the node to be forgotten", () => agent.nodes.view("node-a") === undefined);
  expect(agent.nodes.roster.get("node-a")?.state).toBe("removed");
});
