import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import { TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";

let directory: string;
let server: LinkServer;
let registry: ClusterRegistry;
let agent: TestAgent;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-agent-registry-"));
  server = new LinkServer(directory);
  await server.start();
  registry = server.registry();
  agent = new TestAgent(server.url);
});
afterEach(async () => {
  agent.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

describe("ClusterRegistry", () => {
  const document = {
    id: "by-hand",
    regionId: "eu",
    tags: ["gpu"],
    reputation: 90,
    extra: { a: 1 },
  };

  it("registers, updates, queries and removes a cluster without an agent", async () => {
    await registry.create(ORG, document);
    const view = await registry.get(ORG, "by-hand");
    expect(view.health).toBe("unknown");
    expect(view.document).toMatchObject({ ...document, nodes: { count: 0, nodeData: [] } });
    await registry.update(ORG, "by-hand", { $set: { reputation: 97 } });
    const found = await registry.query(ORG, { reputation: { $gt: 95 }, tags: "gpu" });
    expect(found.map(({ id }) => id)).toEqual(["by-hand"]);
    await registry.remove(ORG, "by-hand");
  });

  it("refuses a taken id, a changed id, and a change of an agent's cluster", async () => {
    await registry.create(ORG, document);
    await expect(registry.create(ORG, document)).rejects.toThrow("exists already");
    await expect(registry.update(ORG, "by-hand", { id: "x" })).rejects.toThrow("cannot be changed");
    await agent.join();
    await expect(registry.create(ORG, { id: "c1" })).rejects.toThrow("exists already");
    await expect(registry.update(ORG, "c1", { tags: [] })).rejects.toThrow("by its agent");
  });

  it("keeps orgs apart", async () => {
    await registry.create(ORG, document);
    expect((await registry.snapshot("other_org")).clusters.size).toBe(0);
  });

  it.each([
    [{}, "id: required field is missing"],
    [{ id: 3 }, "id: expected string, got number"],
    [{ id: "a", tags: "x" }, "tags: expected array, got string"],
    [{ id: "a", nodes: { nodeData: [{}] } }, "nodes.nodeData.0.id: required field is missing"],
  ])("names the bad field of %j", async (body, message) => {
    await expect(registry.create(ORG, body)).rejects.toThrow(message);
  });
});
