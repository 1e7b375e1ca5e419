import { DuplicateWatch } from "@berth/service-kit";
import { NodeNews } from "./node-events.ts";
import { lastHolders } from "./node-record.ts";
import { NodeRegistry } from "./node-registry.ts";
import type { NodeRegistryOptions } from "./node-registry-options.ts";
import { openNodeRoster } from "./node-roster.ts";

/** Opens the registry with the nodes that the store knows; their verdicts wait one TTL. */
export async function openNodeRegistry(options: NodeRegistryOptions): Promise<NodeRegistry> {
  const { standings, clock, logger, onEvent, duplicateRules: rules } = options;
  const news = new NodeNews(logger, onEvent);
  const records = await options.records.load();
  const watch = new DuplicateWatch({
    ...{ subject: "node", standings, clock, logger, rules },
    onDuplicate: (node, candidates) => news.duplicate(node, candidates),
  });
  await watch.load(lastHolders(records));
  const roster = await openNodeRoster({ documents: options.lifecycles, clock, joined: records });
  return new NodeRegistry(options, { records, watch, news, roster });
}
