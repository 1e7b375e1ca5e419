import { readFileSync } from "node:fs";
import { sleep } from "@berth/service-kit";
import { isGone } from "./error-code.ts";
import type { KnownProcess } from "./instance-record.ts";
import { instanceProcesses, isSameProcess, type Kin, type ProcessEntry } from "./kinship.ts";
import { isEnded, parseStat } from "./proc-text.ts";
import type { OwnProcess } from "./process-deps.ts";
import type { ProcessTable } from "./process-table.ts";

type EndSignal = "SIGTERM" | "SIGKILL";

/** Waits between two looks whether processes have ended, in ms: short at first, they mostly end at once. */
const LOOKS_MS = [20, 50, 100, 250];

/** Whose processes are ended, and how. */
export interface EndRequest {
  readonly own: OwnProcess;
  readonly table: Pick<ProcessTable, "scan">;
  readonly kin: Kin;
  /** Between SIGTERM and SIGKILL, in ms. */
  readonly graceMs: number;
  readonly signal: AbortSignal;
}

/**
 * Ends all processes of an instance, also those that left its group or session: SIGTERM, SIGKILL after the grace, and
 * again until a look shows none. Rejects with the signal's reason; one that hangs in the kernel lasts until then.
 */
export async function endProcesses(request: EndRequest): Promise<void> {
  const { table, own, kin, graceMs, signal } = request;
  const known: KnownProcess[] = [...kin.known];
  const began = performance.now();
  const told: KnownProcess[] = [];
  for (let look = 0; ; look += 1) {
    const living = instanceProcesses(await table.scan(), { ...kin, known });
    signal.throwIfAborted();
    if (living.length === 0) return;
    // A parent that ends leaves children behind that only we remember.
    for (const entry of living) {
      if (!known.some((process) => isSameProcess(process, entry))) known.push(entry);
    }
    if (performance.now() - began >= graceMs) sendAll(own, living, "SIGKILL");
    else {
      const fresh = living.filter((entry) => !told.some((one) => isSameProcess(one, entry)));
      sendAll(own, fresh, "SIGTERM");
      told.push(...fresh);
    }
    const graceLeft = graceMs - (performance.now() - began);
    const wait = LOOKS_MS[Math.min(look, LOOKS_MS.length - 1)] ?? 0;
    await sleep(graceLeft > 0 ? Math.min(wait, graceLeft) : wait, signal);
    signal.throwIfAborted();
  }
}

/** To the group of each one that leads it, which reaches what is forked meanwhile, and to the rest one by one. */
function sendAll(own: OwnProcess, entries: readonly ProcessEntry[], name: EndSignal): void {
  const leaders = entries.filter(({ pid, groupId }) => pid === groupId);
  const led = new Set(leaders.map(({ pid }) => pid));
  const single = entries.filter(({ groupId }) => !led.has(groupId));
  // Every signal after a last look that the number still is that process.
  for (const leader of leaders) if (isStill(leader, own)) send(own, -leader.pid, name);
  for (const entry of single) if (isStill(entry, own)) send(own, entry.pid, name);
}

function send(own: OwnProcess, target: number, name: EndSignal): void {
  try {
    own.kill(target, name);
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
  }
}

/** Synchronous: nothing comes between this look and the signal. */
function isStill(known: KnownProcess, own: OwnProcess): boolean {
  if (known.pid === own.pid) return false;
  try {
    const stat = parseStat(readFileSync(`/proc/${known.pid}/stat`, "latin1"));
    return stat !== undefined && isSameProcess(stat, known) && !isEnded(stat);
  } catch (thrown) {
    if (isGone(thrown)) return false;
    throw thrown;
  }
}
