import { readFileSync } from "node:fs";

/** Clock ticks per second in /proc (`getconf CLK_TCK`): 100 on every Linux that Node runs on. */
const TICKS_PER_S = 100;

/** Resident memory of one process, MiB (VmRSS of proc(5)). */
export function rssMiB(pid: number): number {
  return statusKiB(pid, "VmRSS") / 1024;
}

/**
 * Memory that one process has for itself, MiB: shared pages count in parts (Pss of proc(5)). The program
 * text of Node is shared by all that run it.
 */
export function pssMiB(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) / 1024;
}

/** Most resident memory that one process has ever had, MiB (VmHWM of proc(5)). */
export function peakRssMiB(pid: number): number {
  return statusKiB(pid, "VmHWM") / 1024;
}

/** CPU time that one process has used so far, its children's left out, in s (utime + stime of proc(5)). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // Fields are counted behind the command name, which may hold anything but a last ")".
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

function statusKiB(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]);
}
