/** Processor time since boot in kernel ticks, over all processors. */
export interface CpuTicks {
  readonly busy: number;
  readonly total: number;
}

/** What /proc/stat tells. */
export interface ProcStat {
  readonly cpu: CpuTicks;
  /** Tasks that run or wait for a processor. */
  readonly running?: number;
}

/** Byte counters of one network interface since boot. */
export interface LinkCounters {
  readonly receivedBytes: bigint;
  readonly transmittedBytes: bigint;
}

/** One line of /proc/mounts. */
export interface Mount {
  readonly device: string;
  readonly mountPoint: string;
  readonly fileSystem: string;
}

/** Reads /proc/stat (proc_stat(5)); undefined when its first line is not the one of all processors. */
export function parseProcStat(text: string): ProcStat | undefined {
  const first = /^cpu\s+([\d ]+)$/m.exec(text)?.[1];
  if (first === undefined) return undefined;
  const ticks = first.trim().split(/\s+/).map(Number);
  // user nice system idle iowait irq softirq steal; guest time is already part of user and nice.
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, ...interrupts] = ticks.slice(0, 8);
  const busy = interrupts.reduce((sum, part) => sum + part, user + nice + system);
  const running = /^procs_running (\d{1,9})$/m.exec(text)?.[1];
  const cpu = { busy, total: busy + idle + iowait };
  return running === undefined ? { cpu } : { cpu, running: Number(running) };
}

/** Busy share between two readings, 0-100; undefined when no time passed or the counters went back. */
export function cpuUtilizationPercent(before: CpuTicks, after: CpuTicks): number | undefined {
  const total = after.total - before.total;
  const busy = after.busy - before.busy;
  if (total <= 0 || busy < 0) return undefined;
  return Math.min(100, (100 * busy) / total);
}

/** Reads /proc/net/dev; lines that are no interface are left out. */
export function parseNetDev(text: string): Map<string, LinkCounters> {
  const links = new Map<string, LinkCounters>();
  for (const line of text.split("\n")) {
    const match = /^\s*([^\s:]+(?::\d+)?):\s*(\d+)((?:\s+\d+){8})/.exec(line);
    const [, name, received, others] = match ?? [];
    const transmitted = others?.trim().split(/\s+/)[7];
    if (name === undefined || received === undefined || transmitted === undefined) continue;
    links.set(name, {
      receivedBytes: BigInt(received),
      transmittedBytes: BigInt(transmitted),
    });
  }
  return links;
}

// Read-only images and pseudo devices that look like block devices but are no place to store things.
const NOT_STORAGE = new Set(["squashfs", "iso9660", "overlay", "fuse", "devtmpfs", "udf"]);

/**
 * Local block-device file systems (and ZFS datasets) in /proc/mounts, each device once: where a device
 * is mounted more than once (bind mounts), the shortest mount point stands for it.
 */
export function localMounts(text: string): Mount[] {
  const byDevice = new Map<string, Mount>();
  for (const line of text.split("\n")) {
    const [device, point, fileSystem] = line.split(" ").map(unescapeOctal);
    if (device === undefined || point === undefined || fileSystem === undefined) continue;
    const isBlock = device.startsWith("/dev/") && !device.startsWith("/dev/loop");
    if (NOT_STORAGE.has(fileSystem) || !(isBlock || fileSystem === "zfs")) continue;
    const known = byDevice.get(device);
    if (known !== undefined && known.mountPoint.length <= point.length) continue;
    byDevice.set(device, { device, mountPoint: point, fileSystem });
  }
  return [...byDevice.values()];
}

/** The name for people in /etc/os-release (os-release(5)); undefined where there is none. */
export function prettyName(osRelease: string): string | undefined {
  const value = /^PRETTY_NAME=(.*)$/m.exec(osRelease)?.[1]?.trim();
  const bare = value?.replace(/^(["'])(.*)\1$/, "$2");
  return bare === "" ? undefined : bare;
}

// The kernel writes space, tab, newline and backslash in mount points as \040 and so on.
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
