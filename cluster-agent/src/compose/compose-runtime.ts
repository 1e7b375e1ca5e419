import { randomUUID } from "node:crypto";
import type { Clock, Config, Logger, Part } from "@berth/service-kit";
import { AgentLease } from "../runtime/kubernetes/agent-lease.ts";
import { KubeClient } from "../runtime/kubernetes/kube-client.ts";
import { openKubeConfig } from "../runtime/kubernetes/kube-config.ts";
import { kubernetesIdentity } from "../runtime/kubernetes/kubernetes-identity.ts";
import { KubernetesRuntime } from "../runtime/kubernetes/kubernetes-runtime.ts";
import { NodeWatch } from "../runtime/kubernetes/node-watch.ts";
import type { ToldNode } from "../runtime/kubernetes/told-node.ts";
import { readWorkloadOptions } from "../runtime/kubernetes/workload-options.ts";
import { patientStart } from "../runtime/patient-start.ts";
import type { OwnProcess } from "../runtime/process/process-deps.ts";
import { ProcessRuntime } from "../runtime/process/process-runtime.ts";
import type { ProcessRuntimeOptions } from "../runtime/process/process-runtime-options.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { runtimeSettings } from "../settings.ts";

/** The settings of what blocks run on. */
export type RuntimeConfig = Config<typeof runtimeSettings>;

/** Longest wait for the identity of the cluster, ms; longer than one request takes. */
const IDENTITY_LIMIT_MS = 15_000;

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

/** Makes the runtime of `BERTH_RUNTIME`; throws when what it needs is not there, naming the setting. */
export function composeRuntime(options: RuntimeOptions): ComposedRuntime {
  const { config } = options;
  if (config?.runtime === "kubernetes") return composeKubernetes(options, config);
  const { clusterId, processes, process, clock, logger } = options;
  const runtime = new ProcessRuntime({ ...processes, process, clusterId, clock, logger });
  return { runtime, parts: [patientStart(runtime, { logger })] };
}

function composeKubernetes(
  { clusterId, onNodes, process, clock, logger }: RuntimeOptions,
  config: RuntimeConfig,
): ComposedRuntime {
  const { kubernetesNamespace: namespace, kubernetesGpuBinding: gpuBinding } = config;
  const open = () => clientOf(config, process);
  const lease = new AgentLease({
    ...{ client: open(), namespace, clock, logger },
    holder: `${clusterId}/${randomUUID()}`,
    // An orderly end: what this agent still holds in memory is of no use to anybody.
    onFenced: () => void process.kill(process.pid, "SIGTERM"),
  });
  const runtime = new KubernetesRuntime({
    ...{ client: open(), clusterId, namespace, gpuBinding, logger },
    workloads: readWorkloadOptions(config.kubernetesWorkloads),
    whyInactive: () => lease.whyInactive(),
  });
  const nodeWatch = new NodeWatch({ client: open(), onNodes, logger });
  return { runtime, parts: [lease, nodeWatch, patientStart(runtime, { logger })] };
}

/** Asks for the identity of the Kubernetes cluster; undefined where blocks are processes of this machine. */
export function identityQuestion({
  config,
  process,
}: Pick<RuntimeOptions, "config" | "process">): (() => Promise<string>) | undefined {
  if (config?.runtime !== "kubernetes") return undefined;
  return async () => {
    const client = clientOf(config, process);
    try {
      return await kubernetesIdentity(client, AbortSignal.timeout(IDENTITY_LIMIT_MS));
    } finally {
      await client.close();
    }
  };
}

function clientOf({ kubeconfig: file }: RuntimeConfig, { env }: OwnProcess): KubeClient {
  return new KubeClient(openKubeConfig({ file, env }));
}
