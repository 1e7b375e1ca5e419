import { constants, setPriority } from "node:os";

const { PRIORITY_BELOW_NORMAL, PRIORITY_NORMAL } = constants.priority;

/**
 * Gives a worker's interpreter a tenth of the processor's time that others get where they want it (nice 10), or takes
 * that back. On Linux this concerns the main thread, in which the interpreter runs. Taking it back needs a right
 * (`CAP_SYS_NICE`) that a process in a container often lacks: the worker then stays as it is, until it ends.
 */
export function setBackground(pid: number, on: boolean): void {
  try {
    setPriority(pid, on ? PRIORITY_BELOW_NORMAL : PRIORITY_NORMAL);
  } catch {
    // Gone, or not allowed: both leave nothing to be done.
  }
}
