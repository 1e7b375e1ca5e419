import type { DeploymentObject, KubeMetadata, KubeObject, PodObject } from "./kube-objects.ts";

/** What is kept of the root of a block. */
export function keptRoot({ metadata = {} }: KubeObject): KubeObject {
  return { metadata: keptMetadata(metadata) };
}

/** What is kept of a Deployment: some hundred bytes of several thousand. */
export function keptDeployment(object: KubeObject): DeploymentObject {
  const { metadata = {}, spec, status } = object as DeploymentObject;
  const { annotations } = spec?.template?.metadata ?? {};
  return {
    metadata: keptMetadata(metadata),
    spec: { template: { metadata: annotations === undefined ? {} : { annotations } } },
    status: { conditions: status?.conditions ?? [] },
  };
}

/** What is kept of a pod. */
export function keptPod(object: KubeObject): PodObject {
  const { metadata = {}, status = {} } = object as PodObject;
  const { phase, reason, message, podIP, conditions, containerStatuses } = status;
  return {
    metadata: keptMetadata(metadata),
    status: {
      ...(phase === undefined ? {} : { phase }),
      ...(reason === undefined ? {} : { reason }),
      ...(message === undefined ? {} : { message }),
      ...(podIP === undefined ? {} : { podIP }),
      ...(conditions === undefined ? {} : { conditions }),
      ...(containerStatuses === undefined ? {} : { containerStatuses }),
    },
  };
}

function keptMetadata(metadata: KubeMetadata): KubeMetadata {
  const { name, uid, creationTimestamp, deletionTimestamp, labels, annotations } = metadata;
  return {
    ...(name === undefined ? {} : { name }),
    ...(uid === undefined ? {} : { uid }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}
