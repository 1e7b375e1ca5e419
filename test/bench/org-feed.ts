import path from "node:path";
import { startControlPlane } from "../support/control-plane-process.ts";
import type { FeedReadersOptions, FeedReadersResult } from "../support/feed-readers-main.ts";
import { until } from "../support/fleet.ts";
import { startJsonLineProcess } from "../support/json-line-process.ts";
import { cpuSeconds, peakRssMiB, rssMiB } from "../support/process-stats.ts";
import { RestClient } from "./org-client.ts";
import { type BenchOptions, compared, type Emit, rounded } from "./report.ts";

const READERS_MAIN = path.resolve(import.meta.dirname, "../support/feed-readers-main.ts");
const OPEN_LIMIT_MS = 60_000;
/** Subjects with a quota each, which make a report of about 32 KiB. */
const SUBJECTS = 80;
const FULL = { count: 1_000, subjects: SUBJECTS, warmUpMs: 5_000, forMs: 30_000 } as const;
const QUICK = { count: 30, subjects: 8, warmUpMs: 200, forMs: 2_000 } as const;

/**
 * 1,000 subscribers of the report with an interval of one second, in a process of their own: whether each gets each report, how old it
 * is then, and what that costs the control-plane. Baselines: an interval of one second, and the control-plane before they came.
 */
export async function orgFeedBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const { count, subjects, warmUpMs, forMs } = quick ? QUICK : FULL;
  const plane = await startControlPlane();
  const rest = new RestClient(plane.restUrl);
  await rest.createQuotas(subjects);
  rest.close();
  const emptyMiB = rssMiB(plane.pid);
  const url = `${plane.wsUrl}/?interval=1`;
  const options: FeedReadersOptions = { url, count, warmUpMs, forMs };
  const [beginMs, beforeS] = [performance.now(), cpuSeconds(plane.pid)];
  const readers = startJsonLineProcess<FeedReadersResult>(READERS_MAIN, options);
  await until(() => readers.latest() !== undefined, {
    limitMs: OPEN_LIMIT_MS + warmUpMs + forMs,
    what: () => `${count} readers of the feed`,
  });
  const cores = (cpuSeconds(plane.pid) - beforeS) / ((performance.now() - beginMs) / 1_000);
  const memory = { rss: rssMiB(plane.pid), peak: peakRssMiB(plane.pid) };
  const result = readers.latest();
  await readers.stop();
  await plane.stop();
  if (result === undefined || result.lost > 0) {
    throw new Error(`readers were lost: ${JSON.stringify(result)}`);
  }
  const each = { name: "one a second", value: 1 };
  const of = `${count} readers`;
  const { framesPerReaderAndSecond: frames, reportsPerSecond: reports } = result;
  emit(compared({ figure: `frames per reader, ${of}`, value: frames, unit: "/s" }, each));
  emit(compared({ figure: `reports made, ${of}`, value: reports, unit: "/s" }, each));
  emit({ figure: "size of a frame", value: rounded(result.frameKiB), unit: "KiB" });
  emit({ figure: `age of a report at a reader, p50, ${of}`, value: result.p50Ms, unit: "ms" });
  emit({ figure: `age of a report at a reader, p99, ${of}`, value: result.p99Ms, unit: "ms" });
  emit({ figure: `first to last reader, worst, ${of}`, value: result.spreadMs, unit: "ms" });
  emit({ figure: `CPU of the control-plane, ${of}`, value: rounded(cores), unit: "cores" });
  const before = { name: "control-plane without readers", value: emptyMiB };
  emit(compared({ figure: `RSS, ${of}`, value: memory.rss, unit: "MiB" }, before));
  emit(compared({ figure: `peak RSS, ${of}`, value: memory.peak, unit: "MiB" }, before));
}
