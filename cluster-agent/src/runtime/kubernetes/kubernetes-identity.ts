import { BerthError } from "@berth/service-kit";
import type { KubeClient } from "./kube-client.ts";
import { KubeError, toRuntimeError } from "./kube-error.ts";

/**
 * What a cluster id is bound to on Kubernetes: the uid of the namespace kube-system, which is made with the cluster and not
 * again. Rejects with UNAVAILABLE when the API server does not answer, with PRECONDITION_FAILED when it does not tell.
 */
export async function kubernetesIdentity(client: KubeClient, signal: AbortSignal): Promise<string> {
  try {
    const { metadata } = await client.read("/api/v1/namespaces/kube-system", signal);
    if (metadata?.uid !== undefined) return metadata.uid;
  } catch (thrown) {
    throw thrown instanceof KubeError ? toRuntimeError(thrown) : thrown;
  }
  throw new BerthError("PRECONDITION_FAILED", "the namespace kube-system has no uid");
}
