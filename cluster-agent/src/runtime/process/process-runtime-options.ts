import type { Clock, Logger } from "@berth/service-kit";
import type { PortRange } from "./free-ports.ts";
import type { OwnProcess, RuntimeFiles, SupervisionRules } from "./process-deps.ts";
import type { ProcessTable } from "./process-table.ts";

/** What a process runtime is made of. */
export interface ProcessRuntimeOptions {
  /** Directory of its own; made when it is missing. */
  readonly dataDir: string;
  readonly clusterId: string;
  /** The agent's process. */
  readonly process: OwnProcess;
  /** Directory that programs start in; the agent's own by default. */
  readonly workingDir?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Why nothing can be started for a node (it is another machine); undefined when it can. */
  readonly refuseNode?: (nodeId: string) => string | undefined;
  readonly ports?: PortRange;
  readonly rules?: Partial<SupervisionRules>;
  /** Most instances; 1,000 by default, which is also the most. */
  readonly maxInstances?: number;
  /** Whether instances end when the runtime is stopped, to be started again with it; by default they go on. */
  readonly endsInstances?: boolean;
  /** The processes of the machine; runtimes of one process share it. */
  readonly table?: ProcessTable;
  /** The files of `dataDir`; tests put faults between. */
  readonly files?: RuntimeFiles;
}

/** Most instances of one runtime, and most blocks. */
export const MAX_INSTANCES = 1_000;
