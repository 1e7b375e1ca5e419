import { once } from "node:events";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { quantile } from "../bench/report.ts";

/** What `feed-readers-main.ts` is told. */
export interface FeedReadersOptions {
  readonly url: string;
  readonly count: number;
  /** Frames are counted for so long, from so long after all are connected. */
  readonly warmUpMs: number;
  readonly forMs: number;
}

/** What it tells, once. */
export interface FeedReadersResult {
  readonly framesPerReaderAndSecond: number;
  /** Different reports among the frames. */
  readonly reportsPerSecond: number;
  readonly frameKiB: number;
  /** From `generated_at` to a reader, all frames of all readers. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** From the first to the last reader of a report, the worst one. */
  readonly spreadMs: number;
  /** Readers whose sockets were closed. */
  readonly lost: number;
}

/**
 * `node feed-readers-main.ts '<FeedReadersOptions as JSON>'`: reads the feed of the report over many WebSockets, prints
 * {@link FeedReadersResult} as one JSON line, and ends when standard input closes.
 */
const LANES = 100;
const MARK = '"generated_at":"';

/** When a report reached its first reader and its last one so far, Unix time in ms. */
interface Seen {
  readonly firstMs: number;
  lastMs: number;
}

const options: FeedReadersOptions = JSON.parse(process.argv[2] ?? "");
const reports = new Map<string, Seen>();
const delaysMs: number[] = [];
let [begun, lost, bytes] = [0, 0, 0];
let counts = false;
process.stdin.resume();
process.stdin.on("close", () => process.exit(0));
await Promise.all(Array.from({ length: LANES }, openLane));
await delay(options.warmUpMs);
counts = true;
const beginMs = performance.now();
await delay(options.forMs);
const elapsedS = (performance.now() - beginMs) / 1_000;
counts = false;
const result: FeedReadersResult = {
  framesPerReaderAndSecond: delaysMs.length / options.count / elapsedS,
  reportsPerSecond: reports.size / elapsedS,
  frameKiB: bytes / delaysMs.length / 1024,
  p50Ms: quantile(delaysMs, 0.5),
  p99Ms: quantile(delaysMs, 0.99),
  spreadMs: [...reports.values()].reduce(
    (most, { firstMs, lastMs }) => Math.max(most, lastMs - firstMs),
    0,
  ),
  lost,
};
console.log(JSON.stringify(result));

async function openLane(): Promise<void> {
  while (begun < options.count) {
    begun += 1;
    const socket = new WebSocket(options.url, { perMessageDeflate: false });
    socket.on("message", take);
    socket.on("close", () => {
      lost += 1;
    });
    await once(socket, "open");
  }
}

/** Reads nothing of a frame but the moment of its report, which is near its end. */
function take(frame: Buffer): void {
  if (!counts) return;
  const nowMs = Date.now();
  const at = frame.lastIndexOf(MARK) + MARK.length;
  const generatedAt = frame.toString("latin1", at, frame.indexOf('"', at));
  delaysMs.push(nowMs - Date.parse(generatedAt));
  bytes += frame.length;
  const seen = reports.get(generatedAt);
  if (seen === undefined) reports.set(generatedAt, { firstMs: nowMs, lastMs: nowMs });
  else seen.lastMs = nowMs;
}
