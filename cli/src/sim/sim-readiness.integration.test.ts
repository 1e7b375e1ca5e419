import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, expect, it } from "vitest";
import { waitFor } from "../testing/fake-programs.ts";
import { waitUntilSimReady } from "./sim-readiness.ts";

const MESSAGE = "enrolment refused: this enrolment token is not known";

let server: Server;
let url: string;
let answers: Record<string, unknown>;
let stop: AbortController;
let waiting: string[];
let refused: string[];

beforeEach(async () => {
  answers = {};
  [waiting, refused] = [[], []];
  stop = new AbortController();
  server = createServer((request, response) => {
    response.end(JSON.stringify(answers[request.url ?? ""] ?? {}));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const at = server.address();
  url = `http://127.0.0.1:${typeof at === "object" && at !== null ? at.port : 0}`;
});
afterEach(async () => {
  stop.abort();
  server.closeAllConnections();
  const closed = once(server, "close");
  server.close();
  await closed;
});

function fleet(name: string, linked: boolean): unknown {
  const counts = { clusters: 1, clusters_linked: linked ? 1 : 0, nodes: 1, nodes_registered: 1 };
  const cluster_list = [{ id: `${name}-0`, http_url: url, linked }];
  return {
    success: true,
    data: { name, ...counts, gpus: 8, gpu_interval_ms: 1_000, cluster_list },
  };
}

const begin = () =>
  waitUntilSimReady({
    ...{ url, name: "edge", signal: stop.signal },
    notUp: () => [],
    onWaiting: (forWhat) => waiting.push(forWhat),
    onRefused: (lines) => refused.push(...lines),
  });

it("does not take the simulator of another fleet for its own", async () => {
  answers["/sim"] = fleet("sim", true);
  const ready = begin();
  await waitFor("it to be told", () => waiting.length > 0);
  expect(waiting[0]).toBe(`the simulator to answer (on ${url} it is the one of the fleet sim)`);
  answers["/sim"] = fleet("edge", true);
  expect(await ready).toMatchObject({ name: "edge", clusters: 1 });
});

it("tells once why the control-plane refuses a cluster, and goes on waiting", async () => {
  answers["/sim"] = fleet("edge", false);
  answers["/readyz"] = { link: { state: "down", lastError: `UNAUTHENTICATED: ${MESSAGE}` } };
  const ready = begin();
  await waitFor("some looks", () => waiting.length > 2);
  expect(refused).toEqual([
    `the control-plane refuses cluster edge-0 (UNAUTHENTICATED): ${MESSAGE}`,
  ]);
  answers["/sim"] = fleet("edge", true);
  expect(await ready).toMatchObject({ clustersLinked: 1 });
});
