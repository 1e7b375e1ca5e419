import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../clock.ts";
import { silentLogger } from "../log.ts";
import { hasRedis, startRedisServer } from "../testing/external-servers.ts";
import { freePort } from "../testing/free-ports.ts";
import { mirrorContract } from "../testing/mirror-contract.ts";
import { FileMirror } from "./file-mirror.ts";
import { openMirror } from "./open-mirror.ts";
import { RedisMirror } from "./redis-mirror.ts";

const base = { logger: silentLogger, clock: systemClock };
const PATIENCE = { timeout: 20_000, interval: 20 };
const temporary = () => mkdtempSync(path.join(tmpdir(), "berth-mirror-"));
const fileMirror = (directory: string) => new FileMirror({ ...base, directory, name: "m.json" });

mirrorContract("FileMirror", () => {
  const directory = temporary();
  return {
    open: () => fileMirror(directory),
    dispose: () => rmSync(directory, { recursive: true }),
  };
});

it("puts a damaged file aside and begins empty", async () => {
  const directory = temporary();
  writeFileSync(path.join(directory, "m.json"), '{"version":1,"entr');
  const mirror = fileMirror(directory);
  expect(await mirror.read("")).toEqual([]);
  expect(readdirSync(directory)).toEqual([expect.stringMatching(/^m\.json\.damaged-/)]);
  await mirror.close();
  rmSync(directory, { recursive: true });
});

describe.skipIf(!hasRedis())("mirrors with a real Redis", { timeout: 60_000 }, () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  const serve = async (options: Parameters<typeof startRedisServer>[0] = {}) => {
    const server = await startRedisServer(options);
    ends.push(server.stop);
    return server;
  };
  const open = (url: string, rewriteMs = 60_000, orgId = "org") => {
    const mirror = new RedisMirror({ ...base, url, orgId, rewriteMs });
    ends.push(() => mirror.close());
    return mirror;
  };
  const up = async (mirror: RedisMirror) =>
    vi.waitFor(() => expect(mirror.status.isConnected).toBe(true), PATIENCE);
  const patience = () => AbortSignal.timeout(15_000);

  mirrorContract("RedisMirror", async () => {
    const { url, stop } = await startRedisServer();
    return { open: () => new RedisMirror({ ...base, url, orgId: "org" }), dispose: stop };
  });

  mirrorContract("TieredMirror", async () => {
    const { url, stop } = await startRedisServer();
    const directory = temporary();
    return {
      open: () => openMirror({ redisUrl: url, directory, orgId: "org", logger: silentLogger }),
      dispose: async () => {
        await stop();
        rmSync(directory, { recursive: true });
      },
    };
  });

  it("is whole again after the server was killed and came back empty", async () => {
    const server = await serve();
    const mirror = open(server.url);
    mirror.put({ key: "a", revision: 1, body: 1 });
    await mirror.settled(patience());
    await server.kill9();
    mirror.put({ key: "b", revision: 1, body: 2 });
    await server.restart();
    await vi.waitFor(
      async () => expect((await mirror.read("")).map(({ key }) => key)).toEqual(["a", "b"]),
      PATIENCE,
    );
  });

  it("is whole again after FLUSHALL", async () => {
    const server = await serve();
    const mirror = open(server.url, 50);
    mirror.put({ key: "a", revision: 1, body: 1 });
    await mirror.settled(patience());
    const client = new Redis(server.url);
    await client.flushall();
    client.disconnect();
    await vi.waitFor(async () => expect(await mirror.read("")).toHaveLength(1), PATIENCE);
  });

  it("says that the password is wrong, without it", async () => {
    const server = await serve({ password: "right" });
    const mirror = open(server.url.replace("right", "WRONGSECRET"));
    await vi.waitFor(() => expect(mirror.status.why).toMatch(/WRONGPASS|NOAUTH/), PATIENCE);
    expect(JSON.stringify(mirror.status)).not.toContain("WRONGSECRET");
    await expect(mirror.read("")).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    await up(open(server.url));
  });

  it("waits for a server that is absent at start", async () => {
    const port = await freePort();
    const mirror = open(`redis://127.0.0.1:${port}`);
    mirror.put({ key: "a", revision: 1, body: 1 });
    await expect(mirror.read("")).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(mirror.status).toMatchObject({ isConnected: false, pending: 1 });
    await serve({ port });
    await mirror.settled(patience());
    expect(await mirror.read("")).toHaveLength(1);
  });

  it("has nothing of an org whose id begins with its own", async () => {
    const { url } = await serve();
    const put = async (orgId: string) => {
      const mirror = open(url, undefined, orgId);
      mirror.put({ key: `of-${orgId}`, revision: 1, body: 1 });
      await mirror.settled(patience());
      return mirror;
    };
    const [one, other] = [await put("a"), await put("a:b")];
    expect((await one.read("")).map(({ key }) => key)).toEqual(["of-a"]);
    expect((await other.read("")).map(({ key }) => key)).toEqual(["of-a:b"]);
  });

  it("keeps the newest revision of two writers", async () => {
    const { url } = await serve();
    const writers = [open(url), open(url)] as const;
    for (let revision = 1; revision <= 200; revision += 1) {
      writers[revision % 2 === 0 ? 0 : 1].put({ key: "k", revision, body: revision });
      if (revision % 20 === 0) await new Promise(setImmediate);
    }
    await Promise.all(writers.map((one) => one.settled(patience())));
    expect(await writers[1].read("")).toEqual([{ key: "k", revision: 200, body: 200 }]);
  });
});
