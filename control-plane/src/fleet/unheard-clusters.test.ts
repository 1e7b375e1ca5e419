import { expect, it } from "vitest";
import { aView } from "../testing/documents.ts";
import type { ClusterView } from "./cluster-view.ts";
import { unheardClusters } from "./unheard-clusters.ts";

it("tells of clusters that had an agent, until they are heard or removed", async () => {
  const holder = { instanceId: "i", incarnation: 1, bootId: "" };
  const bound = new Map(["c2", "c1", "c3"].map((id) => [id, holder]));
  const clusters = new Map<string, ClusterView>([["c1", aView("c1")]]);
  const unheard = await unheardClusters({
    bindings: { holders: async () => new Map(bound) },
    snapshot: async () => ({ clusters }),
  });
  expect(await unheard()).toEqual(["c2", "c3"]);
  clusters.set("c2", aView("c2"));
  expect(await unheard()).toEqual(["c3"]);
  // One that was heard and is away again is not among them, and neither is one that has come since.
  clusters.delete("c2");
  bound.set("c4", holder);
  expect(await unheard()).toEqual(["c3"]);
  bound.delete("c3");
  expect(await unheard()).toEqual([]);
});
