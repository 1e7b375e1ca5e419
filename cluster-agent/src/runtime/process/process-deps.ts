import type { Clock, Logger } from "@berth/service-kit";
import type { PortBook } from "./free-ports.ts";
import type { InstanceFiles } from "./instance-files.ts";
import type { ProcessTable } from "./process-table.ts";
import { RESTART_RULES, type RestartRules } from "./restart-delay.ts";
import { LOG_BOUNDS, type LogBounds } from "./rotate-log.ts";

/** The files as the runtime uses them. */
export type RuntimeFiles = Pick<InstanceFiles, keyof InstanceFiles>;

/** What is needed of `node:process`; `main.ts` passes the real one. */
export interface OwnProcess {
  readonly pid: number;
  /** PATH, HOME, LANG, TZ and TMPDIR are handed on to instances. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Signals a process, or by a negative number its group; throws what the system says (ESRCH, EPERM). */
  kill(pid: number, signal: "SIGTERM" | "SIGKILL"): unknown;
}

/** Durations and bounds of the supervision. */
export interface SupervisionRules {
  /** Between SIGTERM and SIGKILL, in ms. */
  readonly graceMs: number;
  /** Between two health checks of an instance, in ms; an eighth of it in its first 30 s until it was ready. */
  readonly healthIntervalMs: number;
  /** Between two looks at the log, and at a process that another start of the agent began, in ms. */
  readonly watchIntervalMs: number;
  /** Between two looks at all processes, in ms: one that leaves an instance is known when a look was between. */
  readonly lookIntervalMs: number;
  readonly restart: RestartRules;
  readonly log: LogBounds;
}

/** 5 s of grace, a health check every 2 s, a look every second, at all processes every 5 s. */
export const SUPERVISION_RULES: SupervisionRules = {
  graceMs: 5_000,
  healthIntervalMs: 2_000,
  watchIntervalMs: 1_000,
  lookIntervalMs: 5_000,
  restart: RESTART_RULES,
  log: LOG_BOUNDS,
};

/** What everything that supervises one instance needs. */
export interface ProcessDeps {
  readonly files: RuntimeFiles;
  readonly table: ProcessTable;
  readonly ports: PortBook;
  readonly rules: SupervisionRules;
  readonly runtimeId: string;
  readonly bootId: string;
  readonly clusterId: string;
  readonly own: OwnProcess;
  readonly workingDir: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the supervision; the instances go on. */
  readonly stopped: AbortSignal;
}
