/** Steps by which the sampling interval is lengthened. */
const FACTORS = [1, 2, 4, 8, 10] as const;
/** Share of one core above which the child is too dear (issue: 3 %). */
const DEAR_SHARE = 0.03;
/** Share that it must be expected to stay below before the interval is shortened again. */
const CHEAP_SHARE = 0.02;
/** One tick of /proc/<pid>/stat: Linux shows 100 a second to programs on every architecture. */
const TICK_MS = 10;

/** Processor time that a process had used at a moment. */
export interface CpuReading {
  readonly pid: number;
  readonly cpuMs: number;
  readonly atMs: number;
}

/**
 * Processor time of a process in ms (user and system) from /proc/<pid>/stat, proc_pid_stat(5); undefined
 * for anything else.
 */
export function parseCpuMs(stat: string): number | undefined {
  // The name in parentheses may hold anything; fields are counted from behind the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system] = [fields[11], fields[12]];
  if (!/^\d{1,15}$/.test(user ?? "") || !/^\d{1,15}$/.test(system ?? "")) return undefined;
  return (Number(user) + Number(system)) * TICK_MS;
}

/** Share of one core between two readings; undefined when they are of two processes or of one moment. */
export function coreShare(before: CpuReading, after: CpuReading): number | undefined {
  const elapsedMs = after.atMs - before.atMs;
  const usedMs = after.cpuMs - before.cpuMs;
  if (before.pid !== after.pid || elapsedMs <= 0 || usedMs < 0) return undefined;
  return usedMs / elapsedMs;
}

/**
 * By how much the interval is to be lengthened after the child used this share of a core at `factor`:
 * twice as much when it was too dear, up to ten times; a step back when it would be cheap there too.
 */
export function nextFactor(factor: number, share: number): number {
  const at = Math.max(
    0,
    FACTORS.findIndex((step) => step >= factor),
  );
  const longer = FACTORS[at + 1];
  if (share > DEAR_SHARE) return longer ?? factor;
  const shorter = at > 0 ? FACTORS[at - 1] : undefined;
  if (shorter === undefined) return factor;
  return (share * factor) / shorter < CHEAP_SHARE ? shorter : factor;
}
