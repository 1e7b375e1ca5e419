import type { InstanceOf } from "./gpu-source.ts";
import type { SmiLog } from "./smi-xml.ts";

/** The log with the Berth instance of each process; each process is looked at once. */
export async function withInstances(
  log: SmiLog,
  instanceOf: InstanceOf | undefined,
): Promise<SmiLog> {
  if (instanceOf === undefined) return log;
  const instances = new Map<number, string>();
  for (const { pid } of log.gpus.flatMap((gpu) => gpu.processes)) {
    // One after the other: there are few, and nobody waits.
    if (!instances.has(pid)) instances.set(pid, await instanceOf(pid));
  }
  const gpus = log.gpus.map((gpu) => ({
    ...gpu,
    processes: gpu.processes.map((process) => ({
      ...process,
      instanceId: instances.get(process.pid) ?? "",
    })),
  }));
  return { ...log, gpus };
}
