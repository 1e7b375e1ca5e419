import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseLossless } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestAgent } from "../testing/agents.ts";
import { LinkServer, ORG } from "../testing/link-server.ts";
import { ClusterRegistry } from "./cluster-registry.ts";

let directory: string;
let server: LinkServer;
let registry: ClusterRegistry;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-clusters-"));
  server = new LinkServer(directory);
  await restart();
});
afterEach(async () => {
  await server.stop();
  rmSync(directory, { recursive: true });
});

async function restart(): Promise<void> {
  await server.stop();
  await server.start();
  registry = server.registry();
}

const NODE = '{"id":"n1","weight":1e2,"gpus":{"gpus":[{"id":"0","memory":16000.0}]}}';
const TEXT = `{"id":"by-hand","reputation":10.0,"nodes":{"nodeData":[${NODE}],"big":12345678901234567890},"free":{"deep":[{"x":1e2}]}}`;

/** The document that is answered, listed, and there after a restart: the same each time. */
async function documentText(answered: { readonly documentJson: string }): Promise<string> {
  const before = (await registry.get(ORG, "by-hand")).documentJson;
  await restart();
  const { document, documentJson } = await registry.get(ORG, "by-hand");
  expect([before, documentJson]).toEqual([answered.documentJson, answered.documentJson]);
  expect(document).toEqual(JSON.parse(documentJson));
  return documentJson;
}

describe("a registered cluster's document", () => {
  it("keeps every number as it was written, over a restart too", async () => {
    const text = await documentText(await registry.create(ORG, parseLossless(TEXT)));
    expect(text).toContain('"reputation":10.0');
    expect(text).toContain(`"nodeData":[${NODE}],"big":12345678901234567890`);
    expect(text).toContain('"free":{"deep":[{"x":1e2}]}');
    expect(JSON.parse(text)).toMatchObject({ status: "live", tags: [], nodes: { count: 1 } });
  });

  it("keeps the numbers of an update, and those beside it", async () => {
    await registry.create(ORG, parseLossless(TEXT));
    const update = parseLossless(
      '{"$set":{"reputation":97.50,"free.more":98765432109876543210,"nodes.nodeData.0.weight":7.0},"$push":{"free.deep":1.0}}',
    );
    const text = await documentText(await registry.update(ORG, "by-hand", update));
    expect(text).toContain('"reputation":97.50');
    expect(text).toContain('"free":{"deep":[{"x":1e2},1.0],"more":98765432109876543210}');
    expect(text).toContain(`[${NODE.replace("1e2", "7.0")}],"big":12345678901234567890`);
    const found = await registry.query(ORG, { reputation: { $gt: 97 } });
    expect(found.map(({ id }) => id)).toEqual(["by-hand"]);
  });

  it("is read and changed though an older version of Berth has stored it", async () => {
    const body = {
      id: "by-hand",
      status: "live",
      tags: ["old"],
      nodes: { count: 0, nodeData: [] },
    };
    const key = { orgId: ORG, collection: "clusters", id: "by-hand" };
    await server.store.apply([{ kind: "insert", key, body }]);
    expect((await registry.get(ORG, "by-hand")).document).toEqual(body);
    const update = parseLossless('{"reputation":5.0}');
    const text = await documentText(await registry.update(ORG, "by-hand", update));
    expect(text).toContain('"reputation":5.0');
    expect(JSON.parse(text)).toEqual({ ...body, reputation: 5 });
  });

  it.each([
    ['{"id":"a","x":[{"y":1e999}]}', "too large for a double"],
    [`{"id":"a","x":${"[".repeat(48)}${"]".repeat(48)}}`, "at most 48 nested levels"],
    ['{"id":"a","reputation":"9"}', "reputation: expected number, got string"],
    ['{"id":1.0}', "id: expected string, got number"],
    ['{"id":"a","nodes":{"nodeData":[{"id":"n"},{"id":"n"}]}}', "node n is there twice"],
    ['{"id":"a","nodes":1.0}', "nodes: expected object, got number"],
    ["1.0", "the request: expected object, got number"],
  ])("is refused when it is %s", async (text, message) => {
    await expect(registry.create(ORG, parseLossless(text))).rejects.toThrow(message);
    expect((await registry.snapshot(ORG)).clusters.size).toBe(0);
  });

  it.each([
    ['{"x":-1e999}', "too large for a double"],
    [`{"${"x.".repeat(60)}y":1}`, "at most 48 nested levels"],
    ['{"nodes.count":"1"}', "nodes.count: expected number, got string"],
    ['{"id":"b"}', "cannot be changed"],
    ["[1.0]", "the update: expected a non-empty object, got array"],
    ["1.0", "the update: expected a non-empty object, got number"],
  ])("is not changed by %s", async (update, message) => {
    const { documentJson } = await registry.create(ORG, parseLossless(TEXT));
    const changed = registry.update(ORG, "by-hand", parseLossless(update));
    await expect(changed).rejects.toThrow(message);
    expect((await registry.get(ORG, "by-hand")).documentJson).toBe(documentJson);
  });
});

describe("a cluster that is removed", () => {
  it("is told as removed when it is gone, one that was not there is not", async () => {
    const told: unknown[] = [];
    const telling = new ClusterRegistry({
      ...{ store: server.store, agents: server.sessions },
      forget: async (_orgId, id) => id === "of-an-agent",
      onRemoved: (orgId, id) => {
        told.push(telling.snapshot(orgId).then(({ clusters }) => [orgId, id, clusters.has(id)]));
      },
    });
    await telling.create(ORG, parseLossless(TEXT));
    await expect(telling.remove(ORG, "no-such")).rejects.toThrow("Cluster not found");
    await telling.remove(ORG, "by-hand");
    await telling.remove(ORG, "of-an-agent");
    expect(await Promise.all(told)).toEqual(
      ["by-hand", "of-an-agent"].map((id) => [ORG, id, false]),
    );
  });
});

describe("an agent's document", () => {
  it("keeps every number as it was written when its cluster becomes unreachable", async () => {
    const agent = new TestAgent(server.url);
    const state = await agent.open();
    await state.admitted();
    const json = TEXT.replace("by-hand", "c1");
    const entries = [{ key: "cluster", revision: 1n, json }];
    state.send({ snapshot: true, snapshotEnd: true, entries: entries as never });
    await state.answer();
    expect((await registry.get(ORG, "c1")).documentJson).toBe(json);
    server.nowMs = 3_600_000;
    server.sessions.expire();
    const { documentJson, document } = await registry.get(ORG, "c1");
    expect(documentJson).toBe(`${json.slice(0, -1)},"status":"unreachable"}`);
    expect(document.status).toBe("unreachable");
    agent.close();
  });
});
