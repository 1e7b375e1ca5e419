import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  createHttpServer,
  loadConfig,
  loopbackAuthenticator,
  Pacer,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { freePort } from "@berth/service-kit/testing/free-ports";
import { afterEach, beforeEach, expect, it } from "vitest";
import { clusterRoutes } from "../api/rest/cluster-routes.ts";
import { metricsRoutes } from "../api/rest/metrics-routes.ts";
import { GlobalMetrics } from "../metrics/global-metrics.ts";
import { History } from "../metrics/history.ts";
import { settings } from "../settings.ts";
import { LinkServer, ORG } from "../testing/link-server.ts";
import { openAliasPorts } from "./compose-metrics.ts";

let rest: ReturnType<typeof createHttpServer>;

beforeEach(() => {
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(ORG),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
});
afterEach(() => rest.close());

function partsWith(env: Record<string, string>) {
  const loaded = loadConfig(settings, env);
  if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
  const sockets = {
    part: () => ({ name: "websocket", start: async () => {}, stop: async () => {} }),
  };
  return openAliasPorts(loaded.config, { rest, sockets }, silentLogger);
}

it.each([
  ["by default", {}, 2],
  [
    "not when REST has another port, as a second fleet on one machine has",
    { BERTH_HTTP_PORT: "8001" },
    0,
  ],
  ["also there when they are asked for", { BERTH_HTTP_PORT: "8001", BERTH_ALIAS_PORTS: "on" }, 2],
  ["not when they are switched off", { BERTH_ALIAS_PORTS: "off" }, 0],
])("are opened %s", (_when, env: Record<string, string>, count) => {
  expect(partsWith(env)).toHaveLength(count);
});

it("answer on the ports that are set", async () => {
  const [clusters, metrics] = [await freePort(), await freePort()];
  const [part] = partsWith({
    BERTH_CLUSTERS_ALIAS_PORT: String(clusters),
    BERTH_METRICS_ALIAS_PORT: String(metrics),
  });
  await part?.start();
  try {
    for (const port of [clusters, metrics]) {
      expect((await fetch(`http://127.0.0.1:${port}/none`)).status).toBe(404);
    }
  } finally {
    await part?.stop();
  }
});

it("are those on which the clients of the seeds find clusters and metrics", async () => {
  const [clusters, metrics] = [await freePort(), await freePort()];
  const directory = mkdtempSync(path.join(tmpdir(), "berth-alias-"));
  const link = new LinkServer(directory);
  await link.start();
  const registry = link.registry();
  const shared = { clusters: registry, pace: new Pacer(), clock: systemClock };
  const history = new History({ ...shared, orgId: ORG, logger: silentLogger });
  clusterRoutes(rest, registry);
  metricsRoutes(rest, { metrics: new GlobalMetrics(shared), history });
  const [part] = partsWith({
    BERTH_CLUSTERS_ALIAS_PORT: String(clusters),
    BERTH_METRICS_ALIAS_PORT: String(metrics),
  });
  await part?.start();
  const json = async (port: number, route: string, body?: object) => {
    const headers = { "content-type": "application/json" };
    const post = { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await fetch(`http://127.0.0.1:${port}${route}`, body === undefined ? {} : post);
    return await answer.json();
  };
  try {
    const document = { id: "cluster-001", vcpus: { count: 128 }, memory: 512, gpus: { count: 4 } };
    await json(clusters, "/clusters", document);
    expect(await json(clusters, "/clusters/cluster-001")).toMatchObject(document);
    const query = { "gpus.count": { $gte: 4 } };
    expect(await json(clusters, "/clusters/query", { query })).toMatchObject([document]);
    const found = { success: true, data: { clusterId: "cluster-001", total_cpu: 128 } };
    expect(await json(metrics, "/cluster/cluster-001")).toMatchObject(found);
    const list = { success: true, data: [{ clusterId: "cluster-001", total_gpus: 4 }] };
    expect(await json(metrics, "/cluster/query?clusterId=cluster-001")).toMatchObject(list);
    const named = { clusterId: { $in: ["cluster-001", "cluster-002"] } };
    expect(await json(metrics, "/cluster/query", named)).toMatchObject(list);
    expect(await json(metrics, "/cluster/nobody")).toMatchObject({
      ...{ success: false, error: "cluster not found: nobody", reason: "NOT_FOUND" },
    });
  } finally {
    await part?.stop();
    await link.stop();
    rmSync(directory, { recursive: true });
  }
});
