import { sleep } from "@berth/service-kit";
import { checkHealth } from "./health-check.ts";
import type { Health } from "./health-verdict.ts";
import type { InstanceRecord, KnownProcess } from "./instance-record.ts";
import { instanceProcesses, isSameProcess, type Kin } from "./kinship.ts";
import { instanceName } from "./names.ts";
import { strangerOnPort } from "./port-holder.ts";
import { isEnded } from "./proc-text.ts";
import type { ProcessDeps } from "./process-deps.ts";
import { rotateLog } from "./rotate-log.ts";

/** A program that was not ready yet is checked more often for as long, in ms. */
const FAST_CHECKS_MS = 30_000;

/** A running program, and who hears of it. */
export interface WatchedProgram {
  readonly main: KnownProcess;
  readonly kin: Kin;
  readonly record: InstanceRecord;
  /** How it ended, when it is a child of this process; others are looked at. */
  readonly ended: Promise<string> | undefined;
  readonly onHealth: (health: Health) => void;
}

/** Why a watch ended. */
export type WatchEnd =
  /** The message says how, for people. */
  | { readonly kind: "ended"; readonly message: string }
  /** Another process holds its control port: it can only be had on another one. */
  | { readonly kind: "port taken"; readonly message: string }
  | { readonly kind: "aborted" };

/** Checks the health and bounds the log of a running program until it ends, cannot have its port, or is aborted. */
export async function watchProgram(
  program: WatchedProgram,
  deps: ProcessDeps,
  signal: AbortSignal,
): Promise<WatchEnd> {
  const done = new AbortController();
  const watching = AbortSignal.any([signal, done.signal]);
  const watches = [
    untilEnded(program, deps, watching),
    untilPortTaken(program, deps, watching),
    boundLog(program, deps, watching),
  ];
  try {
    return await Promise.race(watches);
  } finally {
    done.abort();
    // Who hears the end may take the files away.
    await Promise.allSettled(watches);
  }
}

function untilAborted(signal: AbortSignal): Promise<WatchEnd> {
  return new Promise((resolve) => {
    const abort = () => resolve({ kind: "aborted" });
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
  });
}

async function untilEnded(
  { main, ended }: WatchedProgram,
  { table, rules }: ProcessDeps,
  signal: AbortSignal,
): Promise<WatchEnd> {
  if (ended !== undefined) {
    const end = ended.then((message): WatchEnd => ({ kind: "ended", message }));
    return await Promise.race([end, untilAborted(signal)]);
  }
  while (!signal.aborted) {
    const stat = await table.stat(main.pid);
    if (stat === undefined || !isSameProcess(stat, main) || isEnded(stat)) {
      return { kind: "ended", message: "ended" };
    }
    await sleep(rules.watchIntervalMs, signal);
  }
  return { kind: "aborted" };
}

async function untilPortTaken(
  program: WatchedProgram,
  { table, rules, clock }: ProcessDeps,
  signal: AbortSignal,
): Promise<WatchEnd> {
  const port = program.record.ports.control;
  const fastUntilMs = clock.nowMs() + FAST_CHECKS_MS;
  let wasReady = false;
  let isPortOurs = false;
  while (!signal.aborted) {
    const { health, isHeard } = await checkHealth(port, signal);
    if (signal.aborted) break;
    if (isHeard && !isPortOurs) {
      const all = await table.scan();
      const ours = instanceProcesses(all, program.kin);
      const stranger = await strangerOnPort({ port, main: program.main, ours, all });
      if (stranger !== undefined) {
        const message = `pid ${stranger.pid}, which is no instance, listens on its port ${port}`;
        return { kind: "port taken", message };
      }
      isPortOurs = true;
    }
    if (signal.aborted) break;
    program.onHealth(health);
    wasReady ||= health.isReady;
    const isFast = !wasReady && clock.nowMs() < fastUntilMs;
    const interval = isFast ? rules.healthIntervalMs / 8 : rules.healthIntervalMs;
    // A thousand instances that were found at once are not checked at once for ever.
    await sleep(interval * (0.9 + 0.2 * Math.random()), signal);
  }
  return { kind: "aborted" };
}

async function boundLog(
  { record }: WatchedProgram,
  { files, rules, logger }: ProcessDeps,
  signal: AbortSignal,
): Promise<WatchEnd> {
  const file = files.logFile(record.spec);
  let isTold = false;
  while (!signal.aborted) {
    try {
      await rotateLog(file, rules.log);
    } catch (err) {
      if (!isTold) {
        logger.warn("the log of an instance is not bounded", {
          instance: instanceName(record.spec),
          err,
        });
      }
      isTold = true;
    }
    await sleep(rules.watchIntervalMs, signal);
  }
  return { kind: "aborted" };
}
