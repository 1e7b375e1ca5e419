import { once } from "node:events";
import http from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import {
  createHttpServer,
  loopbackAuthenticator,
  Pacer,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClusterView } from "../../fleet/cluster-view.ts";
import { WatchHub, type WatchLimits } from "../../metrics/watch-hub.ts";
import { fleetOf, someGpus, testNode, viewOf } from "../../testing/fleet-views.ts";
import { fleetViewRoutes } from "./fleet-view-routes.ts";

const WAIT = { timeout: 10_000, interval: 10 };
let views: ClusterView[];
let server: FastifyInstance;
let hub: WatchHub;
let watches: Watch[];

const a = viewOf("a", [testNode("n1", someGpus(2)), testNode("n2", someGpus(2))]);
const b = viewOf("b", [testNode("n1", someGpus(1))]);

beforeEach(async () => {
  views = [a, b];
  watches = [];
  await serve({});
});
afterEach(async () => {
  for (const watch of watches) watch.close();
  await server.close();
});

async function serve(limits: Partial<WatchLimits>, snapshot = async () => fleetOf(...views)) {
  await server?.close();
  const shared = { clusters: { snapshot }, pace: new Pacer(), clock: systemClock };
  hub = new WatchHub({ ...shared, limits });
  server = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  server.setValidatorCompiler(() => () => true);
  // As in the whole server, where the routes are a plugin.
  server.register(async (routes) => fleetViewRoutes(routes, { ...shared, watches: hub }));
  await server.listen({ host: "127.0.0.1", port: 0 });
}

const port = () => (server.server.address() as AddressInfo).port;

/** A client that reads the lines of a watch. */
class Watch {
  readonly lines: Record<string, never>[] = [];
  status = 0;
  contentType = "";
  /** How the answer ended. */
  ended: "open" | "end" | "cut" = "open";
  #chunks: string[] = [];
  readonly #request: http.ClientRequest;

  constructor(path: string) {
    this.#request = http.get(
      { host: "127.0.0.1", port: port(), path, agent: false },
      (response) => {
        this.status = response.statusCode ?? 0;
        this.contentType = response.headers["content-type"] ?? "";
        response.setEncoding("utf8").on("data", (text: string) => this.#take(text));
        response.on("end", () => {
          this.ended = "end";
        });
        response.on("error", () => {
          this.ended = "cut";
        });
      },
    );
    this.#request.on("error", () => {
      this.ended = "cut";
    });
    watches.push(this);
  }

  close(): void {
    this.#request.destroy();
  }

  #take(text: string): void {
    this.#chunks.push(text);
    if (!text.includes("\n")) return;
    const lines = this.#chunks.join("").split("\n");
    this.#chunks = [lines.pop() ?? ""];
    for (const line of lines) this.lines.push(JSON.parse(line));
  }
}

/** Opens a watch and waits for its snapshot. */
async function watching(path: string): Promise<Watch> {
  const watch = new Watch(path);
  await vi.waitFor(() => expect(watch.lines.length).toBeGreaterThan(0), WAIT);
  return watch;
}

/** Reads nothing of the answer to its request. */
async function deafReader(path: string): Promise<Socket> {
  const socket = connect(port(), "127.0.0.1");
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
  return socket;
}

async function ask(path: string, method = "GET") {
  const answer = await fetch(`http://127.0.0.1:${port()}${path}`, { method });
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
}

/** The fleet in which the GPUs of a/n1 have this temperature. */
function heated(temperature: number): ClusterView[] {
  const node = testNode("n1", someGpus(2), { temperature });
  return [viewOf("a", [node, testNode("n2", someGpus(2))]), b];
}

describe("the lists", () => {
  it("give rows in the envelope, page by page", async () => {
    const { status, body } = await ask("/gpus?limit=4");
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, data: { length: 4 } });
    const rest = await ask(`/gpus?limit=4&after=${encodeURIComponent(body.next)}`);
    expect(rest.body).toMatchObject({ data: [{ cluster_id: "b", node_id: "n1", id: "0" }] });
    expect(rest.body).not.toHaveProperty("next");
    expect((await ask("/nodes?cluster=a")).body.data).toHaveLength(2);
    expect((await ask("/gpus?cluster=a&node=n2&state=free")).body.data).toHaveLength(2);
    expect((await ask("/metrics/clusters")).body.data).toMatchObject([{ id: "a" }, { id: "b" }]);
  });

  it.each([
    ["/gpus?limit=0", "limit: expected a whole number from 1 to 10000"],
    ["/nodes?limit=10001", "limit: expected"],
    ["/nodes?limit=ten", "limit: expected a whole number from 1 to 10000"],
    ["/nodes?limit=1.5", "limit: expected a whole number"],
    ["/watch/nodes?interval_ms=", "interval_ms: expected a whole number"],
    ["/gpus?after=x", "after: expected"],
    ["/gpus?state=broken", "state"],
    ["/nodes?state=free", "state"],
    ["/gpus?cluster=a&cluster=b", "cluster"],
    ["/watch/gpus?interval_ms=199", "interval_ms: expected a whole number from 200 to 60000"],
    ["/watch/gpus?interval_ms=60001", "interval_ms: expected"],
    ["/watch/clusters?node=n1", "node"],
  ])("refuse %s", async (path, message) => {
    const { status, body } = await ask(path);
    expect(status).toBe(400);
    expect(body.message).toContain(message);
  });
});

describe("a watch", () => {
  it("begins with a snapshot and goes on with what changes", async () => {
    const watch = await watching("/watch/gpus?interval_ms=200");
    expect(watch).toMatchObject({ status: 200, contentType: "application/x-ndjson" });
    expect(watch.lines[0]).toMatchObject({ type: "snapshot", rows: { length: 5 } });
    views = heated(70);
    await vi.waitFor(() => expect(watch.lines).toHaveLength(2), WAIT);
    expect(watch.lines[1]).toMatchObject({
      type: "changes",
      changed: [
        { cluster_id: "a", node_id: "n1", id: "0", temperature: 70 },
        { cluster_id: "a", node_id: "n1", id: "1", temperature: 70 },
      ],
      removed: [],
    });
    views = [a];
    await vi.waitFor(() => expect(watch.lines).toHaveLength(3), WAIT);
    expect(watch.lines[2]).toMatchObject({ changed: { length: 2 }, removed: ["b/n1/0"] });
  });

  it("marks the rows of a cluster that becomes unreachable, and keeps them", async () => {
    const [nodes, clusters] = [
      await watching("/watch/nodes?interval_ms=200&cluster=a"),
      await watching("/watch/clusters?interval_ms=200"),
    ];
    views = [{ ...a, health: "unreachable" }, b];
    await vi.waitFor(() => expect(nodes.lines).toHaveLength(2), WAIT);
    const row = { cluster_id: "a", status: "unreachable", quality: "stale", cpu_count: 8 };
    expect(nodes.lines[1]).toMatchObject({ changed: [row, row], removed: [] });
    await vi.waitFor(() => expect(clusters.lines).toHaveLength(2), WAIT);
    expect(clusters.lines[1]).toMatchObject({ changed: [{ id: "a", status: "unreachable" }] });
  });

  it("says that it goes on when nothing changes", async () => {
    await serve({ heartbeatMs: 50 });
    const watch = await watching("/watch/gpus?interval_ms=60000");
    await vi.waitFor(() => expect(watch.lines.length).toBeGreaterThan(3), WAIT);
    expect(watch.lines.slice(1, 4)).toEqual(Array(3).fill({ type: "heartbeat" }));
  });

  it("does without HEAD, which has no end to read to", async () => {
    expect((await ask("/watch/gpus", "HEAD")).status).toBe(404);
    expect(hub.size).toBe(0);
  });

  it("is freed at once when its reader goes, however long its interval", async () => {
    const watch = await watching("/watch/gpus?interval_ms=60000");
    expect([hub.size, hub.tables]).toEqual([1, 1]);
    watch.close();
    await vi.waitFor(() => expect([hub.size, hub.tables]).toEqual([0, 0]), WAIT);
  });

  it("is refused beyond the bound, which tells what to do, and taken when there is room", async () => {
    await serve({ maxWatchers: 2 });
    const first = await watching("/watch/gpus");
    await watching("/watch/nodes");
    const { status, body } = await ask("/watch/clusters");
    expect(status).toBe(429);
    expect(body).toMatchObject({ success: false, reason: "OVERLOADED" });
    expect(body.message).toContain("close one and try again");
    first.close();
    await vi.waitFor(() => expect(hub.size).toBe(1), WAIT);
    await watching("/watch/clusters");
  });

  it("ends in order with the server", async () => {
    const watch = await watching("/watch/gpus?interval_ms=60000");
    await server.close();
    await vi.waitFor(() => expect(watch.ended).toBe("end"), WAIT);
    expect(hub.size).toBe(0);
  });

  it("is cut off when the fleet cannot be read, and holds nothing then", async () => {
    let isBroken = false;
    await serve({}, async () => {
      if (isBroken) throw new Error("the store is gone");
      return fleetOf(a);
    });
    const watch = await watching("/watch/gpus?interval_ms=200");
    isBroken = true;
    await vi.waitFor(() => expect(watch.ended).not.toBe("open"), WAIT);
    await vi.waitFor(() => expect([hub.size, hub.tables]).toEqual([0, 0]), WAIT);
  });

  it("looks at the fleet once for all who watch at the same time", async () => {
    let looks = 0;
    await serve({}, async () => {
      looks += 1;
      return fleetOf(...views);
    });
    const many = await Promise.all(
      Array.from({ length: 50 }, () => watching("/watch/gpus?interval_ms=1000")),
    );
    const before = looks;
    views = heated(70);
    await vi.waitFor(() => expect(many.every(({ lines }) => lines.length > 1)).toBe(true), WAIT);
    expect(looks - before).toBeLessThan(5);
    // A busy machine may let half of them read in the next moment, in which rows are older.
    const withoutAge = (key: string, value: unknown) => (key === "age_ms" ? undefined : value);
    const texts = new Set(many.map(({ lines }) => JSON.stringify(lines[1], withoutAge)));
    expect(texts.size).toBe(1);
  });
});

describe("a slow reader", () => {
  /** About 20 MB as rows. */
  const large = (temperature: number) =>
    Array.from({ length: 50 }, (_, cluster) =>
      viewOf(
        `c${cluster}`,
        Array.from({ length: 100 }, (_, n) => testNode(`n${n}`, someGpus(8), { temperature })),
      ),
    );

  it("gets the newest state when it reads on, and not all that was between", async () => {
    views = large(20);
    const slow = await deafReader("/watch/gpus?interval_ms=200");
    const quick = await watching("/watch/gpus?interval_ms=200");
    for (let temperature = 21; temperature < 25; temperature += 1) {
      views = large(temperature);
      const known = quick.lines.length;
      await vi.waitFor(() => expect(quick.lines.length).toBeGreaterThan(known), WAIT);
    }
    const chunks: string[] = [];
    slow.setEncoding("latin1").on("data", (chunk: string) => chunks.push(chunk));
    slow.resume();
    await vi.waitFor(() => expect(chunks.slice(-2).join("")).toContain('"removed":[]}'), WAIT);
    const [before = "", changes = "", ...more] = chunks.join("").split('{"type":"changes"');
    expect(before).toContain('{"type":"snapshot"');
    expect(new Set(changes.match(/(?<="temperature":)\d+/g))).toEqual(new Set(["24"]));
    expect(more).toEqual([]);
    slow.destroy();
  }, 60_000);

  it("is cut off when it does not read at all", async () => {
    await serve({ stallMs: 200 });
    views = large(20);
    const slow = await deafReader("/watch/gpus?interval_ms=200");
    await vi.waitFor(() => expect(hub.size).toBe(1), WAIT);
    await vi.waitFor(() => expect(hub.size).toBe(0), WAIT);
    const closed = once(slow, "close");
    slow.resume();
    await closed;
  });
});
