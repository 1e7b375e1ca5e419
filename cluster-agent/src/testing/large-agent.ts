// A program for benchmarks: a cluster-agent with nodes that report, blocks and instances that nothing runs. Its options
// are JSON in its first argument; prints {"url": …} when it is filled.

import { loadConfig, silentLogger, startAll, systemClock } from "@berth/service-kit";
import type { BlockBook } from "../blocks/block-book.ts";
import { composeClusterAgent } from "../compose.ts";
import { settings } from "../settings.ts";
import { CHAT_ENTRY, entryOf, instanceOf } from "./block-fixtures.ts";
import { until } from "./fixtures.ts";
import { joinNodes } from "./join-nodes.ts";

/** What a process is started with. */
export interface LargeAgentOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly nodes: number;
  readonly gpusPerNode: number;
  readonly blocks: number;
  readonly instancesPerBlock: number;
}

const REPORT_EVERY_MS = 5_000;
const options = JSON.parse(process.argv[2] ?? "") as LargeAgentOptions;

async function fill(book: BlockBook): Promise<void> {
  const { blocks, instancesPerBlock, nodes } = options;
  for (let block = 0; block < blocks; block += 1) {
    const id = `blk-${String(block).padStart(4, "0")}`;
    await book.create(entryOf(id, { ...CHAT_ENTRY, id }), { operationId: "op" });
    for (let place = 0; place < instancesPerBlock; place += 1) {
      const instanceId = `in-${block}-${place}`;
      const nodeId = `node-${(block * instancesPerBlock + place) % nodes}`;
      await book.putInstance(instanceOf(id, instanceId, { nodeId }));
    }
    await book.setPhase(id, "running");
  }
}

const loaded = loadConfig(settings, options.env);
if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
const agent = await composeClusterAgent({
  ...{ config: loaded.config, clock: systemClock, logger: silentLogger, process },
  durability: "process",
});
await startAll(agent.parts, silentLogger);
const { nodes, gpusPerNode } = options;
await joinNodes(agent, { nodes, gpusPerNode, reportEveryMs: REPORT_EVERY_MS });
const { blocks } = agent;
if (blocks === undefined) throw new Error("the agent runs no blocks");
await until("the ledger to open", () => blocks.ledger.status.state === "open", 60_000);
await fill(blocks.book);
process.stdout.write(`${JSON.stringify({ url: agent.httpUrl() })}\n`);
process.stdin.on("end", () => process.exit(0)).resume();
