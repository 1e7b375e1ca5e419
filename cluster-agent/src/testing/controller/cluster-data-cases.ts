import { afterEach, describe, expect, it } from "vitest";
import type { ControllerClient as Client } from "./controller-client.ts";
import { refusal } from "./failure.ts";

/** The cluster beside the blocks of the existing deployment's data API, at the root and below `urlMap.blocksQuery`. */
export function clusterDataCases(client: Client): void {
  describe.each(["", "/blocks"])("the cluster beside the blocks, below '%s'", (prefix) => {
    const get = async () => (await client.call("GET", `${prefix}/cluster/get`)).body.data;
    const query = (body: object) => client.call("POST", `${prefix}/cluster/query`, body);
    const replace = (config: unknown) =>
      client.call("POST", `${prefix}/cluster/update/config`, config);
    const config = async () => (await get()).config;

    afterEach(async () => {
      await replace({});
    });

    it("shows the cluster, and finds it where a query does", async () => {
      const cluster = await get();
      expect(cluster).toMatchObject({ id: "c1", nodes: { count: 1 } });
      for (const found of [{ query: { id: "c1" } }, { "nodes.count": { $gte: 1 } }, {}]) {
        const { status, body } = await query(found);
        expect({ status, ids: body.data.map(({ id }: { id: string }) => id) }).toEqual({
          ...{ status: 200, ids: ["c1"] },
        });
      }
      expect((await query({ query: { id: "c2" } })).body).toEqual({ success: true, data: [] });
      for (const bad of [{ query: 7 }, { query: { $where: "1" } }, { id: { $near: 1 } }]) {
        expect(await query(bad)).toMatchObject(refusal(400, "INVALID_ARGUMENT", /^query/));
      }
    });

    it("replaces the whole config, but for what the agent fills in", async () => {
      const first = await replace({ kept: 1, colour: "red" });
      expect(first).toMatchObject({ status: 200, body: { success: true, data: { id: "c1" } } });
      expect(await config()).toMatchObject({ kept: 1, colour: "red", urlMap: expect.any(Object) });
      const shown = await config();
      const again = await replace({ urlMap: shown.urlMap, kept: 2 });
      expect(again.status).toBe(200);
      expect(await config()).toEqual({ ...shown, colour: undefined, kept: 2 });
      for (const bad of [{ actionsPolicyMap: 7 }, { actionsPolicyMap: { scale_block: 7 } }]) {
        const refused = await replace(bad);
        expect(refused).toMatchObject(refusal(400, "INVALID_ARGUMENT", /actionsPolicyMap/));
      }
      expect((await config()).kept).toBe(2);
    });

    it("onboards a node by its entry, which makes it expected only", async () => {
      const add = (entry: object) => client.call("POST", `${prefix}/cluster/update/nodes`, entry);
      expect(await add({ id: "new", gpus: { count: 2 }, memory: 64_000 })).toMatchObject({
        status: 200,
        body: { success: true, data: { id: "c1", nodes: { count: 1 } }, node: { id: "new" } },
      });
      expect((await client.call("GET", "/nodes/new")).body.data.state).toBe("expected");
      await client.call("DELETE", "/cluster-actions/remove-node/new");
      expect((await client.call("DELETE", "/nodes/new")).status).toBe(200);
      expect(await add({ tags: [] })).toMatchObject(refusal(400, "INVALID_ARGUMENT", /^id/));
    });
  });
}
