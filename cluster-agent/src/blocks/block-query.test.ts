import { describe, expect, it } from "vitest";
import { clusterOf, entryOf, instanceOf } from "../testing/block-fixtures.ts";
import type { ObservedFacts } from "./block-document.ts";
import { BlockQueries, type BlockScene } from "./block-query.ts";
import { blockRecord } from "./block-records.ts";
import { parseBlockQuery } from "./query-request.ts";

const about = { operationId: "op-1", createdAt: "", updatedAt: "", phase: "running" as const };
const running: ObservedFacts = { phase: "running", isReady: true, restarts: 0, endpoints: {} };

function scene(entries: readonly Readonly<Record<string, unknown>>[]): BlockScene {
  return {
    blocks: entries.map(({ id, ...more }) => blockRecord(entryOf(String(id), more), about)),
    instancesOf: (blockId) => (blockId === "b" ? [instanceOf("b", "in-1")] : []),
    observed: new Map([["in-1", running]]),
    cluster: clusterOf(),
  };
}

const three = scene([
  { id: "a", rank: 2, tags: ["x"], blockMetadata: { size: 5 } },
  { id: "b", rank: 1, tags: ["y", "x"] },
  { id: "c", rank: 2, tags: [], blockMetadata: { size: 4 } },
]);

async function ask(body: unknown, from = three, queries = new BlockQueries()) {
  return JSON.parse(await queries.query(parseBlockQuery(body), from));
}

async function idsOf(body: unknown, from = three) {
  return (await ask(body, from)).map(({ id }: { id: string }) => id);
}

/** How often others had their turn until a promise settled. */
async function turnsUntil(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const settled = work.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    await new Promise(setImmediate);
    turns += 1;
  }
  await settled;
  return turns;
}

describe("a query of blocks", () => {
  it.each<[string, unknown, readonly string[]]>([
    ["everything", {}, ["a", "b", "c"]],
    ["a field of the entry", { rank: 2 }, ["a", "c"]],
    ["an item of a list", { tags: "x" }, ["a", "b"]],
    ["the cluster", { "cluster.reputation": { $gt: 90 } }, ["a", "b", "c"]],
    ["another cluster", { "cluster.id": "c2" }, []],
    ["the cluster's nodes", { "cluster.nodes.nodeData.gpus.gpus.uuid": "GPU-1" }, ["a", "b", "c"]],
    ["a node that is not there", { "cluster.nodes.nodeData.id": "node-z" }, []],
    ["an instance", { "instances.node_id": "node-a" }, ["b"]],
    ["the status", { "status.ready": { $gte: 1 } }, ["b"]],
    [
      "a lower bound and a logical operator",
      { $or: [{ id: "a" }, { rank: { $lt: 2 } }] },
      ["a", "b"],
    ],
  ])("filters by %s", async (_what, query, ids) => {
    expect(await idsOf({ query })).toEqual(ids);
    expect(await idsOf(query)).toEqual(ids);
  });

  it.each<[string, object, readonly string[]]>([
    ["by id", { id: 1, rank: -1 }, ["a", "b", "c"]],
    ["down", { id: -1 }, ["c", "b", "a"]],
    ["by two paths", { rank: 1, id: -1 }, ["b", "c", "a"]],
    ["and leaves equal ones in the order of their ids", { rank: -1 }, ["a", "c", "b"]],
    ["below a field, the missing ones first", { "blockMetadata.size": 1 }, ["b", "c", "a"]],
    ["below a field, the missing ones last", { "blockMetadata.size": -1 }, ["a", "c", "b"]],
    ["by the least item, an empty list first", { tags: 1 }, ["c", "a", "b"]],
    ["by the greatest item", { tags: -1 }, ["b", "a", "c"]],
    ["by what the runtime tells", { "status.ready": -1, id: 1 }, ["b", "a", "c"]],
    [
      "by the nodes of the cluster, the same for all",
      { "cluster.nodes.nodeData.id": 1 },
      ["a", "b", "c"],
    ],
  ])("sorts %s", async (_what, sort, ids) => {
    expect(await idsOf({ query: {}, options: { sort } })).toEqual(ids);
  });

  it("sorts, then skips, then limits, then projects", async () => {
    const options = { sort: { id: -1 }, skip: 1, limit: 1, projection: { rank: 1, id: 1 } };
    expect(await ask({ query: {}, options })).toEqual([{ id: "b", rank: 1 }]);
    expect(await idsOf({ options: { limit: 0, skip: 2 } })).toEqual(["c"]);
    expect(await idsOf({ options: { skip: 3 } })).toEqual([]);
  });

  it("shows the cluster without its nodes, also when they are asked for", async () => {
    const cluster = { ...clusterOf(), nodes: { count: 1 } };
    expect((await ask({ id: "a" }))[0].cluster).toEqual(cluster);
    const projection = { "cluster.nodes": 1 };
    const shown = await ask({ query: { id: "a" }, options: { projection } });
    expect(shown).toEqual([{ cluster: { nodes: { count: 1 } } }]);
  });

  it("projects instances, and leaves the cluster out", async () => {
    const projection = { "instances.node_id": 1, "status.ready": 1 };
    const shown = await ask({ query: { id: "b" }, options: { projection } });
    expect(shown).toEqual([{ instances: [{ node_id: "node-a" }], status: { ready: 1 } }]);
    const rest = await ask({ query: { id: "b" }, options: { projection: { cluster: 0 } } });
    expect(Object.keys(rest[0])).toEqual(["id", "rank", "tags", "instances", "status"]);
  });

  it("refuses an answer that grows too long, and gives a part of it", async () => {
    const queries = new BlockQueries({ characters: 1_000 });
    await expect(ask({}, three, queries)).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      message:
        "the blocks take more than 1000 characters of JSON: ask with limit and skip, or with options.projection",
    });
    expect(await ask({ options: { limit: 1 } }, three, queries)).toHaveLength(1);
    expect(await ask({ options: { projection: { id: 1 } } }, three, queries)).toHaveLength(3);
    const page = { skip: 0, limit: 3 };
    await expect(queries.list(page, three)).rejects.toThrow("1000 characters");
  });

  it("refuses a sort that takes too long", async () => {
    const options = { sort: { rank: 1 } };
    await expect(ask({ options }, three, new BlockQueries({ sortMs: 0 }))).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: "options.sort: takes more than 0 ms: sort by shorter values",
    });
    expect(await ask({ options }, three, new BlockQueries({ sortMs: 1_000 }))).toHaveLength(3);
  });

  it("gives others their turn while it goes through ten thousand blocks", async () => {
    const many = scene(
      Array.from({ length: 10_000 }, (_, index) => ({
        id: `b${index}`,
        rank: (index * 7919) % 10_000,
        text: "x".repeat(500),
      })),
    );
    // On any machine it takes a while.
    const instancesOf: BlockScene["instancesOf"] = () => {
      const untilMs = performance.now() + 0.02;
      while (performance.now() < untilMs);
      return [];
    };
    const options = { sort: { text: 1, rank: 1 }, projection: { rank: 1 } };
    let ranks: unknown;
    const slow = { ...many, instancesOf };
    const query = { text: { $ne: "" }, "instances.node_id": { $ne: "none" } };
    const asked = ask({ query, options }, slow).then((found) => {
      ranks = found.map(({ rank }: { rank: number }) => rank);
    });
    const turns = await turnsUntil(asked);
    expect(turns).toBeGreaterThan(20);
    expect(ranks).toEqual(Array.from({ length: 10_000 }, (_, index) => index));
  });
});
