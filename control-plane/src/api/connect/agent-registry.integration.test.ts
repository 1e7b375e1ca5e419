import { describe, expect, it } from "vitest";
import { useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();

describe("ClusterRegistry", () => {
  const document = {
    id: "by-hand",
    regionId: "eu",
    tags: ["gpu"],
    reputation: 90,
    extra: { a: 1 },
  };

  it("registers, updates, queries and removes a cluster without an agent", async () => {
    await link.registry.create(ORG, document);
    const view = await link.registry.get(ORG, "by-hand");
    expect(view.health).toBe("unknown");
    expect(view.document).toMatchObject({ ...document, nodes: { count: 0, nodeData: [] } });
    await link.registry.update(ORG, "by-hand", { $set: { reputation: 97 } });
    const found = await link.registry.query(ORG, { reputation: { $gt: 95 }, tags: "gpu" });
    expect(found.map(({ id }) => id)).toEqual(["by-hand"]);
    await link.registry.remove(ORG, "by-hand");
  });

  it("refuses a taken id, a changed id, and a change of an agent's cluster", async () => {
    await link.registry.create(ORG, document);
    await expect(link.registry.create(ORG, document)).rejects.toThrow("exists already");
    await expect(link.registry.update(ORG, "by-hand", { id: "x" })).rejects.toThrow(
      "cannot be changed",
    );
    await link.agent.join();
    await expect(link.registry.create(ORG, { id: "c1" })).rejects.toThrow("exists already");
    await expect(link.registry.update(ORG, "c1", { tags: [] })).rejects.toThrow("by its agent");
  });

  it("keeps orgs apart", async () => {
    await link.registry.create(ORG, document);
    expect((await link.registry.snapshot("other_org")).clusters.size).toBe(0);
  });

  it.each([
    [{}, "id: required field is missing"],
    [{ id: 3 }, "id: expected string, got number"],
    [{ id: "a", tags: "x" }, "tags: expected array, got string"],
    [{ id: "a", nodes: { nodeData: [{}] } }, "nodes.nodeData.0.id: required field is missing"],
  ])("names the bad field of %j", async (body, message) => {
    await expect(link.registry.create(ORG, body)).rejects.toThrow(message);
  });
});
