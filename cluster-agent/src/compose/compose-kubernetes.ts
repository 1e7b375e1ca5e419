import { randomUUID } from "node:crypto";
import { AgentLease } from "../runtime/kubernetes/agent-lease.ts";
import { KubeClient } from "../runtime/kubernetes/kube-client.ts";
import { openKubeConfig } from "../runtime/kubernetes/kube-config.ts";
import { kubernetesIdentity } from "../runtime/kubernetes/kubernetes-identity.ts";
import { KubernetesRuntime } from "../runtime/kubernetes/kubernetes-runtime.ts";
import { NodeWatch } from "../runtime/kubernetes/node-watch.ts";
import { readWorkloadOptions } from "../runtime/kubernetes/workload-options.ts";
import { patientStart } from "../runtime/patient-start.ts";
import type { OwnProcess } from "../runtime/process/process-deps.ts";
import type { ComposedRuntime, RuntimeConfig, RuntimeOptions } from "./runtime-options.ts";

/** Longest wait for the identity of the cluster, ms; longer than one request takes. */
const IDENTITY_LIMIT_MS = 15_000;

/** Makes the runtime of Kubernetes; throws when what it needs is not there, naming the setting. */
export function composeKubernetes(
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

/** Asks the Kubernetes cluster for its identity. */
export async function askIdentity(config: RuntimeConfig, process: OwnProcess): Promise<string> {
  const client = clientOf(config, process);
  try {
    return await kubernetesIdentity(client, AbortSignal.timeout(IDENTITY_LIMIT_MS));
  } finally {
    await client.close();
  }
}

function clientOf({ kubeconfig: file }: RuntimeConfig, { env }: OwnProcess): KubeClient {
  return new KubeClient(openKubeConfig({ file, env }));
}
