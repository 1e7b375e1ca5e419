import { createServer } from "node:net";
import {
  createHttpServer,
  loadConfig,
  loopbackAuthenticator,
  silentLogger,
} from "@berth/service-kit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { settings } from "../settings.ts";
import { openAliasPorts } from "./compose-metrics.ts";

let rest: ReturnType<typeof createHttpServer>;

beforeEach(() => {
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
});
afterEach(() => rest.close());

function partsWith(env: Record<string, string>) {
  const loaded = loadConfig(settings, env);
  if (loaded.kind === "invalid") throw new Error(loaded.problems.join("; "));
  return openAliasPorts(loaded.config, rest, silentLogger);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

it.each([
  ["by default", {}, 1],
  [
    "not when REST has another port, as a second fleet on one machine has",
    { BERTH_HTTP_PORT: "8001" },
    0,
  ],
  ["also there when they are asked for", { BERTH_HTTP_PORT: "8001", BERTH_ALIAS_PORTS: "on" }, 1],
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
