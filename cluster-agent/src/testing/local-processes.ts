import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { silentLogger, systemClock } from "@berth/service-kit";
import { ProcessRuntime } from "../runtime/process/process-runtime.ts";
import type { ProcessRuntimeOptions } from "../runtime/process/process-runtime-options.ts";
import type { BlockSpec, InstanceSpec, ObservedInstance } from "../runtime/runtime.ts";
import { until } from "./fixtures.ts";

/** The example of the repository: answers its health check. */
export const ECHO_COMMAND = [
  process.execPath,
  path.resolve(import.meta.dirname, "../../../examples/blocks/echo/server.js"),
];

/** Short enough for tests. */
export const QUICK_RULES = {
  graceMs: 1_000,
  healthIntervalMs: 200,
  watchIntervalMs: 50,
  lookIntervalMs: 100,
  restart: { firstMs: 20, capMs: 200, soundAfterMs: 60_000 },
};

/** A program of one line of JavaScript. */
export function script(code: string): readonly string[] {
  return [process.execPath, "-e", code];
}

/** An instance of block "blk-a". */
export function localInstance(
  instanceId: string,
  command: readonly string[],
  more: Partial<InstanceSpec> = {},
): InstanceSpec {
  return {
    ...{ blockId: "blk-a", instanceId, nodeId: "node-1", image: undefined, command },
    ...{ env: {}, initDataJson: undefined, devices: [], cpuMillis: 100, memoryMiB: 64 },
    ...{ storageMiB: 0, allocationId: `alloc-${instanceId}`, ownership: LOCAL_BLOCK.ownership },
    ...more,
  };
}

/** The block that {@link localInstance} hangs on. */
export const LOCAL_BLOCK: BlockSpec = {
  blockId: "blk-a",
  ownership: { operationId: "op-1", fence: { storeId: "", controllerTerm: "0" } },
};

/** What a runtime of local processes in tests is made with. */
export function localOptions(
  dataDir: string,
  more: Partial<ProcessRuntimeOptions> = {},
): ProcessRuntimeOptions {
  return {
    ...{ dataDir, clusterId: "cl-1", process, clock: systemClock },
    ...{ logger: silentLogger, rules: QUICK_RULES },
    ...more,
  };
}

/** A data directory for runtimes of local processes, and what runs of it. */
export class LocalProcesses {
  readonly dataDir = mkdtempSync(path.join(tmpdir(), "berth-runtime-"));
  readonly #idFile: string;

  /** `folder`: where in the directory the runtime keeps its files. */
  constructor(folder = "") {
    this.#idFile = path.join(this.dataDir, folder, "runtime-id");
  }

  /** A started runtime over the directory. */
  async open(more: Partial<ProcessRuntimeOptions> = {}): Promise<ProcessRuntime> {
    const runtime = new ProcessRuntime(localOptions(this.dataDir, more));
    try {
      await runtime.start();
    } catch (thrown) {
      await runtime.stop();
      throw thrown;
    }
    return runtime;
  }

  /** Living processes that carry the marks of the directory, and of one instance when it is named. */
  pids(instance?: string): number[] {
    const id = readFileSync(this.#idFile, "utf8").trim();
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        const variables = textOf(`/proc/${pid}/environ`).split("\0");
        const isOurs = variables.includes(`BERTH_RUNTIME_ID=${id}`);
        return isOurs && (!instance || variables.includes(`BERTH_INSTANCE=${instance}`));
      })
      .map(Number)
      .filter(isLiving);
  }

  /** Text of a file of an instance; "" when there is none. */
  file(instanceId: string, name: string): string {
    return textOf(path.join(this.dataDir, "blocks", "blk-a", instanceId, name));
  }

  /** Kills what is left, and removes the directory. */
  dispose(): void {
    if (textOf(this.#idFile) !== "") {
      for (const pid of this.pids()) process.kill(pid, "SIGKILL");
    }
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/** Whether a process is there and has not ended. */
export function isLiving(pid: number): boolean {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat !== "" && !/\) [ZX]/.test(stat);
}

/** An instance as its runtime has it now. */
export async function observedOf(
  runtime: ProcessRuntime,
  instanceId: string,
): Promise<ObservedInstance | undefined> {
  const { instances } = await runtime.observe(new AbortController().signal);
  return instances.find((instance) => instance.instanceId === instanceId);
}

/** The instance once it is so. */
export async function instanceWhen(
  runtime: ProcessRuntime,
  instanceId: string,
  isSo: (instance: ObservedInstance) => boolean,
): Promise<ObservedInstance> {
  let last: ObservedInstance | undefined;
  const condition = async (): Promise<boolean> => {
    last = await observedOf(runtime, instanceId);
    return last !== undefined && isSo(last);
  };
  await until(`${instanceId} as awaited, ${String(isSo)}`, condition, 20_000).catch((thrown) => {
    throw new Error(`${thrown.message}; it is ${JSON.stringify(last)}`);
  });
  if (last === undefined) throw new Error(`${instanceId} is not there`);
  return last;
}

/** Number of the process that an instance runs as. */
export function pidOf(instance: ObservedInstance): number {
  return Number(instance.podName?.slice("pid ".length));
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
