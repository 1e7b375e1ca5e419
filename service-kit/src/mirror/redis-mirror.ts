import type { Redis } from "ioredis";
import { backoffMs } from "../backoff.ts";
import { withoutSecrets } from "../bus/redact-url.ts";
import { type Clock, sleep } from "../clock.ts";
import { BerthError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { EntryTable, entryOf, type KeptEntry, newestOf, TOMBSTONE_MS } from "./entry-table.ts";
import type { Mirror, MirrorCopies, MirrorEntry, MirrorGuard, MirrorStatus } from "./mirror.ts";

const DEADLINE_MS = 2_000;
const REWRITE_MS = 60_000;
/** How often a reader looks whether the connection stands, ms. */
const CONNECTING_MS = 10;
const ASK_AGAIN_MS = 5_000;
const BATCH = 100;
const BACKOFF = { firstMs: 200, capMs: 5_000 };

/** Writes an entry unless Redis has the same or a newer revision. A removed one expires. */
const WRITE_SCRIPT = `
local known = redis.call('HGET', KEYS[1], 'revision')
if known and tonumber(known) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'revision', ARGV[1])
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'body', ARGV[3])
else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1`;

/** What a {@link RedisMirror} is made of. */
export interface RedisMirrorOptions {
  /** `redis://` or `rediss://`, with user and password within. */
  readonly url: string;
  /** Keys in Redis begin with `berth:<orgId>:`. */
  readonly orgId: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** How often all is written anew, in ms; 60,000 by default. */
  readonly rewriteMs?: number;
}

/** A mirror in Redis. All that was put is kept here too and written anew, so that a Redis that lost it is whole again. */
export class RedisMirror implements Mirror {
  readonly #options: RedisMirrorOptions;
  readonly #table: EntryTable;
  readonly #closed = new AbortController();
  readonly #connected: Promise<Redis | undefined>;
  readonly #rewriting: ReturnType<typeof setInterval>;
  #writing: Promise<void> | undefined;
  #isUp = false;
  #guard: MirrorGuard | undefined;
  /** The guard has nothing against writing on this connection. */
  #isAllowed = false;
  #refusal: string | undefined;
  #askAgain: NodeJS.Timeout | undefined;
  #why: string | undefined = "no connection yet";

  constructor(options: RedisMirrorOptions) {
    checkUrl(options.url);
    this.#options = options;
    this.#table = new EntryTable(options.clock);
    this.#connected = this.#connect().catch((thrown: unknown) => {
      this.#down(thrown);
      return undefined;
    });
    this.#rewriting = setInterval(() => this.#rewrite(), options.rewriteMs ?? REWRITE_MS);
    this.#rewriting.unref();
  }

  get status(): MirrorStatus {
    const isClosed = this.#closed.signal.aborted;
    const why = isClosed ? "the mirror is closed" : (this.#why ?? this.#refusal);
    const pending = this.#table.pending;
    const rest = why === undefined ? {} : { why };
    return { driver: "redis", isConnected: why === undefined && this.#isUp, pending, ...rest };
  }

  guard(guard: MirrorGuard): void {
    this.#guard = guard;
    this.#isAllowed = false;
  }

  put(entry: MirrorEntry): void {
    if (this.#table.put(entry)) this.#start();
  }

  async read(prefix: string): Promise<readonly MirrorEntry[]> {
    const done = new AbortController();
    const late = sleep(DEADLINE_MS, done.signal).then(() => undefined);
    try {
      const found = await Promise.race([this.#readAll(prefix, done.signal), late]);
      if (found !== undefined) return found;
    } catch (thrown) {
      throw new BerthError("UNAVAILABLE", `Redis must answer, but: ${this.#clean(thrown)}`);
    } finally {
      done.abort();
    }
    throw new BerthError("UNAVAILABLE", `Redis must answer within ${DEADLINE_MS} ms`);
  }

  async copies(): Promise<MirrorCopies> {
    return { copies: [await this.read("")], isWhole: true };
  }

  async settled(signal: AbortSignal): Promise<void> {
    await this.#table.settled(signal);
  }

  async close(): Promise<void> {
    clearInterval(this.#rewriting);
    clearTimeout(this.#askAgain);
    if (!this.#closed.signal.aborted && this.#isUp) {
      await this.settled(AbortSignal.timeout(DEADLINE_MS));
    }
    this.#closed.abort();
    const redis = await this.#connected;
    redis?.disconnect();
    await this.#writing;
  }

  async #connect(): Promise<Redis> {
    const { Redis } = await import("ioredis");
    const redis = new Redis(this.#options.url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: DEADLINE_MS,
      commandTimeout: DEADLINE_MS,
      retryStrategy: (times) => backoffMs(times, BACKOFF),
    });
    redis.on("error", (thrown: unknown) => this.#down(thrown));
    redis.on("close", () => this.#down("the connection was closed"));
    redis.on("ready", () => {
      // With a wrong password the client is "ready" too: only an answer tells.
      redis.ping().then(
        () => this.#up(),
        (thrown: unknown) => {
          this.#down(thrown);
          if (!this.#closed.signal.aborted) redis.disconnect(true);
        },
      );
    });
    if (!this.#closed.signal.aborted) redis.connect().catch((thrown) => this.#down(thrown));
    return redis;
  }

  #start(): void {
    if (this.#closed.signal.aborted || !this.#isUp) return;
    this.#writing ??= this.#write();
  }

  #rewrite(): void {
    this.#table.rewriteAll();
    this.#start();
  }

  /** Writes what waits, as long as the connection stands; {@link #up} begins anew. */
  async #write(): Promise<void> {
    const redis = await this.#connected;
    for (let failures = 0; redis !== undefined && this.#mayWrite(); ) {
      const entries = this.#table.waiting(BATCH);
      try {
        if (!(await this.#mayChange(redis))) break;
        await Promise.all(entries.map((entry) => this.#writeOne(redis, entry)));
        this.#table.written(entries);
        failures = 0;
      } catch (thrown) {
        failures += 1;
        this.#options.logger.warn("the mirror was not written", { why: this.#clean(thrown) });
        await sleep(backoffMs(failures, BACKOFF), this.#closed.signal);
      }
    }
    this.#writing = undefined;
  }

  /** Asks the guard, once on a connection, and again in a while when it refuses. */
  async #mayChange(redis: Redis): Promise<boolean> {
    if (this.#isAllowed || this.#guard === undefined) return true;
    const { key, refusal } = this.#guard;
    const [entry] = await this.#readOne(redis, this.#prefix + key);
    const why = refusal(entry);
    if (why !== undefined && this.#refusal !== why) {
      this.#options.logger.warn("Redis is left as it is", { why });
    }
    this.#refusal = why;
    this.#isAllowed = why === undefined;
    if (why !== undefined) {
      clearTimeout(this.#askAgain);
      this.#askAgain = setTimeout(() => this.#start(), ASK_AGAIN_MS);
      this.#askAgain.unref();
    }
    return this.#isAllowed;
  }

  #mayWrite(): boolean {
    return this.#isUp && this.#table.pending > 0 && !this.#closed.signal.aborted;
  }

  async #writeOne(redis: Redis, entry: KeptEntry): Promise<void> {
    const isThere = entry.text !== undefined;
    const last = entry.text ?? String(TOMBSTONE_MS);
    const key = this.#prefix + entry.key;
    await redis.eval(WRITE_SCRIPT, 1, key, String(entry.revision), isThere ? "1" : "0", last);
  }

  async #readAll(prefix: string, signal: AbortSignal): Promise<MirrorEntry[]> {
    const redis = await this.#connected;
    while (redis !== undefined && !this.#isUp && !signal.aborted)
      await sleep(CONNECTING_MS, signal);
    if (redis === undefined || signal.aborted) throw new Error(this.#why ?? "no connection");
    const match = `${globEscaped(this.#prefix + prefix)}*`;
    const found: MirrorEntry[] = [];
    let cursor = "0";
    do {
      const [next, keys] = await redis.scan(cursor, "MATCH", match, "COUNT", 1_000);
      found.push(...(await Promise.all(keys.map((key) => this.#readOne(redis, key)))).flat());
      cursor = next;
    } while (cursor !== "0" && !signal.aborted);
    return newestOf(found);
  }

  async #readOne(redis: Redis, fullKey: string): Promise<MirrorEntry[]> {
    const [revision, text] = await redis.hmget(fullKey, "revision", "body");
    if (revision === null || revision === undefined) return [];
    const key = fullKey.slice(this.#prefix.length);
    const entry = entryOf({ key, revision: Number(revision), text: text ?? undefined });
    if (entry === undefined) this.#options.logger.error("Redis has a damaged entry", { key });
    return entry === undefined ? [] : [entry];
  }

  /** A colon in an org's id is encoded: no org's keys begin with another one's prefix. */
  get #prefix(): string {
    return `berth:${encodeURIComponent(this.#options.orgId)}:`;
  }

  #up(): void {
    this.#isUp = true;
    this.#why = undefined;
    this.#options.logger.info("connected to Redis");
    this.#rewrite();
  }

  #down(thrown: unknown): void {
    const isClosing = this.#closed.signal.aborted;
    const why = this.#clean(thrown);
    const hasReason = this.#why !== undefined && thrown === "the connection was closed";
    const isNew = this.#isUp || (this.#why !== why && !hasReason);
    this.#isUp = false;
    this.#isAllowed = false;
    // The end of a connection says less than the error before it.
    if (!hasReason) this.#why = why;
    if (isNew && !isClosing) this.#options.logger.warn("no connection to Redis", { why });
  }

  /** Only the message: the driver's errors carry the command, AUTH with its password too. */
  #clean(thrown: unknown): string {
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    return withoutSecrets(text, this.#options.url);
  }
}

function checkUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^rediss?:$/.test(url.protocol) && url.hostname !== "") return;
  throw new BerthError("INVALID_ARGUMENT", "the Redis URL must be like redis://host:6379");
}

function globEscaped(text: string): string {
  return text.replaceAll(/[\\*?[\]^]/g, "\\$&");
}
