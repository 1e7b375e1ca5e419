import { patientStart } from "../runtime/patient-start.ts";
import { ProcessRuntime } from "../runtime/process/process-runtime.ts";
import type { ComposedRuntime, RuntimeOptions } from "./runtime-options.ts";

/** Makes the runtime of `BERTH_RUNTIME`; throws when what it needs is not there, naming the setting. */
export async function composeRuntime(options: RuntimeOptions): Promise<ComposedRuntime> {
  const { config } = options;
  if (config?.runtime === "kubernetes")
    return (await kubernetes()).composeKubernetes(options, config);
  const { clusterId, processes, process, clock, logger } = options;
  const runtime = new ProcessRuntime({ ...processes, process, clusterId, clock, logger });
  return { runtime, parts: [patientStart(runtime, { logger })] };
}

/** Asks for the identity of the Kubernetes cluster; undefined where blocks are processes of this machine. */
export function identityQuestion({
  config,
  process,
}: Pick<RuntimeOptions, "config" | "process">): (() => Promise<string>) | undefined {
  if (config?.runtime !== "kubernetes") return undefined;
  return async () => (await kubernetes()).askIdentity(config, process);
}

/** Loaded where it is needed only: the client library takes some 80 MiB. */
function kubernetes() {
  return import("./compose-kubernetes.ts");
}
