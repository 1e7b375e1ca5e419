/** What Berth puts into the environment of a process that it starts, and finds it again by. */
export interface ProcessMarks {
  /** `BERTH_RUNTIME_ID`: UUID of the data directory. */
  readonly runtimeId: string;
  /** `BERTH_INSTANCE`: "block/instance". */
  readonly instance: string;
  /** `BERTH_START`: UUID of this start; empty when the process took it out. */
  readonly startId: string;
}

/** A process as /proc/<pid>/stat shows it, proc_pid_stat(5). */
export interface ProcessStat {
  readonly pid: number;
  /** "R", "S", "D", "Z" (ended, not reaped), … */
  readonly state: string;
  readonly parentPid: number;
  readonly groupId: number;
  readonly sessionId: number;
  /** Start time in ticks since boot; with the pid it names one process of this boot. */
  readonly startTicks: number;
}

/** A listening TCP socket as /proc/net/tcp shows it. */
export interface ListeningSocket {
  readonly port: number;
  readonly inode: number;
}

const LISTEN = "0A";

/** Reads /proc/<pid>/stat; undefined for text that is none. */
export function parseStat(text: string): ProcessStat | undefined {
  // The command stands in parentheses and may hold spaces and parentheses of its own.
  const close = text.lastIndexOf(")");
  if (close < 0) return undefined;
  const [state = "", ...fields] = text.slice(close + 2).split(" ");
  const numbers = fields.map(Number);
  const [parentPid, groupId, sessionId] = numbers;
  const startTicks = numbers[18];
  const pid = Number.parseInt(text, 10);
  if (parentPid === undefined || groupId === undefined || sessionId === undefined) return undefined;
  if (startTicks === undefined || ![pid, startTicks].every(Number.isSafeInteger)) return undefined;
  return { pid, state, parentPid, groupId, sessionId, startTicks };
}

/** Whether a process has ended, and only its entry is left. */
export function isEnded(stat: Pick<ProcessStat, "state">): boolean {
  return stat.state === "Z" || stat.state === "X" || stat.state === "x";
}

/** Reads the marks out of /proc/<pid>/environ; undefined when the process is no instance's. */
export function parseMarks(environ: string): ProcessMarks | undefined {
  if (!environ.includes("BERTH_RUNTIME_ID=")) return undefined;
  const lines = environ.split("\0");
  const variable = (name: string) =>
    lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
  const runtimeId = variable("BERTH_RUNTIME_ID");
  const instance = variable("BERTH_INSTANCE");
  if (!runtimeId || !instance) return undefined;
  return { runtimeId, instance, startId: variable("BERTH_START") ?? "" };
}

/** Reads the listening sockets out of /proc/net/tcp or /proc/net/tcp6. */
export function parseListening(text: string): ListeningSocket[] {
  return text.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
    if (state !== LISTEN || !Number.isInteger(port)) return [];
    return [{ port, inode: Number(inode) }];
  });
}
