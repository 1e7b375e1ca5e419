import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { seededRandom } from "../support/synthetic-cluster.ts";
import { median, quantile } from "./report.ts";

/** Where requests go, and what each of them says; a `request_id` is added. */
export interface Target {
  readonly url: string;
  readonly body: object;
}

/** How hard {@link closedLoop} drives: `inFlight` requests in all, until a time or a count. */
export interface ClosedLoad {
  readonly sockets: number;
  readonly inFlight: number;
  readonly untilMs?: number;
  readonly untilCount?: number;
}

/** What one run of a load measured. */
export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

const OPEN_LOOP_DRAIN_MS = 30_000;

/** Keeps a number of requests under way; each answer is followed by the next request. */
export async function closedLoop(target: Target, load: ClosedLoad): Promise<LoadResult> {
  const latenciesMs: number[] = [];
  const beginMs = performance.now();
  let sent = 0;
  const goesOn = () =>
    performance.now() - beginMs < (load.untilMs ?? Number.POSITIVE_INFINITY) &&
    sent < (load.untilCount ?? Number.POSITIVE_INFINITY);
  const run = async (caller: Caller) => {
    while (goesOn()) {
      sent += 1;
      latenciesMs.push(await caller.call(performance.now()));
    }
  };
  const callers = await openCallers(target, load.sockets);
  const lanes = Array.from({ length: load.inFlight }, (_, lane) => callers[lane % load.sockets]);
  await Promise.all(lanes.map((caller) => caller && run(caller)));
  const elapsedMs = performance.now() - beginMs;
  for (const caller of callers) caller.close();
  return summary(latenciesMs, elapsedMs);
}

/**
 * Sends requests at random moments (a Poisson process) with a mean rate, whether or not earlier ones were
 * answered. Latencies count from the moment a request was due, so a server that stalls cannot hide it.
 */
export async function openLoop(
  target: Target,
  load: { readonly sockets: number; readonly perSecond: number; readonly forMs: number },
): Promise<LoadResult> {
  const random = seededRandom(1);
  const callers = await openCallers(target, load.sockets);
  const calls: Promise<number>[] = [];
  const beginMs = performance.now();
  let dueMs = beginMs;
  while (dueMs - beginMs < load.forMs) {
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    const call = callers[calls.length % callers.length]?.call(dueMs);
    if (call !== undefined) {
      // Awaited below; until then a refusal must not count as unhandled.
      call.catch(() => undefined);
      calls.push(call);
    }
    dueMs -= Math.log(1 - random()) * (1_000 / load.perSecond);
  }
  const late = AbortSignal.timeout(OPEN_LOOP_DRAIN_MS);
  late.addEventListener("abort", () => {
    for (const caller of callers) caller.close();
  });
  const latenciesMs = await Promise.all(calls);
  for (const caller of callers) caller.close();
  return summary(latenciesMs, performance.now() - beginMs);
}

/** Keeps one request under way on a socket of its own until it is stopped. */
export async function keepBusy(target: Target): Promise<{ stop(): Promise<void> }> {
  const caller = await Caller.open(target);
  let stopped = false;
  const loop = (async () => {
    while (!stopped) await caller.call(performance.now());
  })();
  loop.catch(() => undefined);
  return {
    async stop() {
      stopped = true;
      await loop;
      caller.close();
    },
  };
}

/** The median of each figure over several runs. */
export function medianResult(results: readonly LoadResult[]): LoadResult {
  const of = (name: keyof LoadResult) => median(results.map((result) => result[name]));
  return { perSecond: of("perSecond"), p50Ms: of("p50Ms"), p95Ms: of("p95Ms"), p99Ms: of("p99Ms") };
}

interface Waiting {
  readonly fromMs: number;
  readonly resolve: (latencyMs: number) => void;
  readonly reject: (reason: Error) => void;
}

/** One socket; answers find their requests by `request_id`. */
class Caller {
  readonly #socket: WebSocket;
  readonly #rest: string;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(socket: WebSocket, body: object) {
    this.#socket = socket;
    this.#rest = JSON.stringify(body).slice(1);
    socket.on("message", (data: Buffer) => this.#take(data));
    socket.on("close", (code) => this.#fail(new Error(`the socket was closed with ${code}`)));
  }

  static async open({ url, body }: Target): Promise<Caller> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    await once(socket, "open");
    return new Caller(socket, body);
  }

  /** Sends a request; gives the time from `fromMs` to its answer, ms. Rejects when it failed. */
  call(fromMs: number): Promise<number> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { fromMs, resolve, reject });
      this.#socket.send(`{"request_id":${id},${this.#rest}`);
    });
  }

  close(): void {
    this.#socket.close();
  }

  #take(data: Buffer): void {
    const text = data.toString();
    const reply: { request_id: number; success?: boolean } = JSON.parse(text);
    const waiting = this.#waiting.get(reply.request_id);
    this.#waiting.delete(reply.request_id);
    if (reply.success === false) waiting?.reject(new Error(text));
    else waiting?.resolve(performance.now() - (waiting.fromMs ?? 0));
  }

  #fail(reason: Error): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }
}

async function openCallers(target: Target, count: number): Promise<readonly Caller[]> {
  return await Promise.all(Array.from({ length: count }, () => Caller.open(target)));
}

function summary(latenciesMs: readonly number[], elapsedMs: number): LoadResult {
  return {
    perSecond: (latenciesMs.length / elapsedMs) * 1_000,
    p50Ms: quantile(latenciesMs, 0.5),
    p95Ms: quantile(latenciesMs, 0.95),
    p99Ms: quantile(latenciesMs, 0.99),
  };
}
