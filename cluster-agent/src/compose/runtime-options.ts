import type { Clock, Config, Logger, Part } from "@berth/service-kit";
import type { ToldNode } from "../runtime/kubernetes/told-node.ts";
import type { OwnProcess } from "../runtime/process/process-deps.ts";
import type { ProcessRuntimeOptions } from "../runtime/process/process-runtime-options.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { runtimeSettings } from "../settings.ts";

/** The settings of what blocks run on. */
export type RuntimeConfig = Config<typeof runtimeSettings>;

/** What a runtime is made from. */
export interface RuntimeOptions {
  /** Undefined: processes of this machine. */
  readonly config: RuntimeConfig | undefined;
  readonly clusterId: string;
  /** What a runtime of processes is made with. */
  readonly processes: Pick<ProcessRuntimeOptions, "dataDir" | "table" | "endsInstances">;
  /** Is told all nodes that Kubernetes tells of, again and again; never by a runtime of processes. */
  readonly onNodes: (nodes: readonly ToldNode[]) => Promise<void>;
  /** The agent's process. */
  readonly process: OwnProcess;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The runtime that the settings choose. */
export interface ComposedRuntime {
  readonly runtime: Runtime;
  /** In start order. */
  readonly parts: readonly Part[];
}
