import { type Logger, sleep } from "@berth/service-kit/base";
import { type LogAnswer, readLog } from "./gpu-survey.ts";
import type { QueryLimits, SmiRunner } from "./smi-runner.ts";

/** What {@link readLogs} works with. */
export interface LogLoopOptions {
  readonly runner: SmiRunner;
  readonly limits: QueryLimits;
  readonly logger: Logger;
  /** Time between two logs, in ms. */
  readonly everyMs: number;
  /** Whether the driver answers now; it is not asked while it does not. */
  readonly answers: () => boolean;
  readonly onLog: (answer: Extract<LogAnswer, { kind: "log" }>) => Promise<void>;
}

/** Reads the log again and again until the signal is aborted; tells a problem once until it is another. */
export async function readLogs(options: LogLoopOptions): Promise<void> {
  const { runner, limits, logger } = options;
  const { signal } = limits;
  let told = "";
  while (!signal.aborted) {
    await sleep(options.everyMs, signal);
    if (signal.aborted || !options.answers()) continue;
    const answer = await readLog(runner, limits);
    if (signal.aborted) return;
    const problem = answer.kind === "log" ? (answer.log.doubt ?? "") : answer.problem;
    if (problem !== "" && problem !== told) logger.warn("nvidia-smi tells less", { problem });
    told = problem;
    if (answer.kind === "log") await options.onLog(answer);
  }
}
