import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type DocumentStore,
  openMirror,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { type ExternalServer, startRedisServer } from "@berth/service-kit/testing/external-servers";
import { Redis } from "ioredis";
import { vi } from "vitest";
import { MIRRORED_REQUESTS } from "../autoscaler/scaling/scale-book.ts";
import { StateMirror } from "../org/store/state-mirror.ts";
import { openScaling, type TestScaling } from "./scaling-fixture.ts";

/** How long {@link vi.waitFor} waits for Redis. */
export const WAIT = { timeout: 15_000, interval: 20 };

/** One life of the program. */
export interface Life extends TestScaling {
  readonly mirror: StateMirror;
  /** What was put is at Redis. */
  settled(): Promise<void>;
}

/** A Redis, and lives of the program on stores beside it. */
export class MirroredLives {
  readonly redis: ExternalServer;
  readonly client: Redis;
  directory = "";
  readonly #stores: DocumentStore[] = [];
  readonly #servers: ExternalServer[] = [];
  readonly #lives = new Map<Life, () => Promise<void>>();

  private constructor(redis: ExternalServer) {
    this.redis = redis;
    this.client = new Redis(redis.url, { lazyConnect: true });
    this.client.on("error", () => undefined);
  }

  static async start(): Promise<MirroredLives> {
    return new MirroredLives(await startRedisServer());
  }

  async stop(): Promise<void> {
    this.client.disconnect();
    await this.redis.stop();
  }

  /** Before each test. */
  async begin(): Promise<void> {
    this.directory = mkdtempSync(path.join(tmpdir(), "berth-mirror-"));
    await this.client.flushall();
  }

  /** After each test. */
  async clear(): Promise<void> {
    for (const life of [...this.#lives.keys()]) await this.end(life);
    for (const server of this.#servers.splice(0)) await server.stop();
    for (const store of this.#stores.splice(0)) await store.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** A Redis that has what it took after a kill, too. */
  async durableRedis(): Promise<ExternalServer> {
    const server = await startRedisServer({ isDurable: true });
    this.#servers.push(server);
    return server;
  }

  /** A folder of its own for a mirror's local file. */
  newFolder(): string {
    return mkdtempSync(path.join(this.directory, "own-"));
  }

  newStore(): DocumentStore {
    const store = openSqliteDocumentStore(":memory:", systemClock);
    this.#stores.push(store);
    return store;
  }

  /** One life of the program on a store. */
  async live(
    store: DocumentStore,
    folder = this.directory,
    redisUrl = this.redis.url,
  ): Promise<Life> {
    const orgId = "default_org";
    const driver = openMirror({ redisUrl, directory: folder, orgId, logger: silentLogger });
    const grouped = [MIRRORED_REQUESTS];
    const mirror = new StateMirror({ store, orgId, mirror: driver, grouped, logger: silentLogger });
    await mirror.open();
    const scaling = await openScaling({ store, mirror });
    await mirror.start();

    const settled = async () => {
      const isWhole = () => {
        const { driver, pending, isConnected, why } = mirror.status;
        return driver === "redis" && pending === 0 && isConnected && why === undefined;
      };
      await vi.waitUntil(isWhole, WAIT);
    };
    const life: Life = { ...scaling, mirror, settled };
    this.#lives.set(life, async () => {
      await scaling.stop();
      await mirror.stop();
    });
    return life;
  }

  /** Ends a life in order. */
  async end(life: Life): Promise<void> {
    const stop = this.#lives.get(life);
    this.#lives.delete(life);
    await stop?.();
  }
}

/** All that a store has of the org, in another one. */
export async function copyOf(from: DocumentStore, to: DocumentStore): Promise<void> {
  const collections = [
    ...["org_state", "quotas", "subjects", "charges", "scaled_quotas", "scale_requests"],
    ...["workflows", "autoscale_settings", "guard_histories", "outbox"],
  ];
  for (const collection of collections) {
    for (const { id, body } of await from.list({ orgId: "default_org", collection })) {
      await to.apply([{ kind: "insert", key: { orgId: "default_org", collection, id }, body }]);
    }
  }
}
