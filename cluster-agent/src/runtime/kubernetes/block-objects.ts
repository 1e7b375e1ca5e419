import type { V1ConfigMap, V1Deployment, V1Service } from "@kubernetes/client-node";
import type { BlockSpec, Ownership } from "../runtime.ts";
import type { KubeObject } from "./kube-objects.ts";
import {
  ANNOTATIONS,
  EXECUTOR,
  LABELS,
  ownLabels,
  rootName,
  serviceName,
  workloadName,
} from "./object-names.ts";
import { asSent, extraContainer, ownedBy, podBase, servicePorts } from "./pod-parts.ts";
import type { WorkloadOptions } from "./workload-options.ts";

/** What all objects of a cluster are built with. */
export interface ObjectRules {
  readonly clusterId: string;
  readonly namespace: string;
  readonly options: WorkloadOptions;
}

/** Whose decision an object is. */
export function ownershipAnnotations({ operationId, fence }: Ownership): Record<string, string> {
  return {
    [ANNOTATIONS.operationId]: operationId,
    [ANNOTATIONS.storeId]: fence.storeId,
    [ANNOTATIONS.controllerTerm]: fence.controllerTerm,
  };
}

/** The root that all objects of a block hang on. */
export function rootObject(spec: BlockSpec, { clusterId, namespace }: ObjectRules): KubeObject {
  return asSent<V1ConfigMap>({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: rootName(spec.blockId),
      namespace,
      labels: { ...ownLabels(clusterId), [LABELS.block]: spec.blockId },
      annotations: {
        [ANNOTATIONS.clusterId]: clusterId,
        ...ownershipAnnotations(spec.ownership),
      },
    },
  });
}

/** The containers beside a block's instances, as the operator wants them; undefined when there are none. */
export function executorDeployment(
  { blockId }: Pick<BlockSpec, "blockId">,
  root: KubeObject,
  { clusterId, namespace, options }: ObjectRules,
): KubeObject | undefined {
  const { executor } = options;
  if (executor === undefined) return undefined;
  const name = workloadName({ blockId, instanceId: EXECUTOR });
  const labels = executorLabels(blockId, clusterId);
  const env = { ...executor.env, BLOCK_ID: blockId, CLUSTER_ID: clusterId };
  return asSent<V1Deployment>({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace, labels, ownerReferences: ownedBy(root) },
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: { [LABELS.app]: name } },
      template: {
        metadata: { labels: { [LABELS.app]: name, ...labels } },
        spec: {
          ...podBase(options),
          containers: executor.containers.map((one) => extraContainer(one, env)),
        },
      },
    },
  });
}

/** The Service before {@link executorDeployment}. */
export function executorService(
  { blockId }: Pick<BlockSpec, "blockId">,
  root: KubeObject,
  { clusterId, namespace, options }: ObjectRules,
): KubeObject | undefined {
  const { executor } = options;
  const ports = executor?.containers.flatMap(({ ports: own = [] }) => own) ?? [];
  if (executor === undefined || ports.length === 0) return undefined;
  const name = workloadName({ blockId, instanceId: EXECUTOR });
  return asSent<V1Service>({
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: serviceName(name),
      namespace,
      labels: executorLabels(blockId, clusterId),
      ownerReferences: ownedBy(root),
    },
    spec: {
      type: executor.serviceType ?? "ClusterIP",
      selector: { [LABELS.app]: name },
      ports: servicePorts(ports),
    },
  });
}

/** Leads gRPC calls with `x-service-name: <block>` to the block's executor; undefined without a gateway. */
export function executorRoute(
  { blockId }: Pick<BlockSpec, "blockId">,
  root: KubeObject,
  { clusterId, namespace, options: { route } }: ObjectRules,
): KubeObject | undefined {
  if (route === undefined) return undefined;
  const service = serviceName(workloadName({ blockId, instanceId: EXECUTOR }));
  const parent = route.namespace === undefined ? {} : { namespace: route.namespace };
  return asSent({
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "GRPCRoute",
    metadata: {
      name: blockId,
      namespace,
      labels: executorLabels(blockId, clusterId),
      ownerReferences: ownedBy(root),
    },
    spec: {
      parentRefs: [{ name: route.gateway, ...parent }],
      rules: [
        {
          matches: [{ headers: [{ type: "Exact", name: "x-service-name", value: blockId }] }],
          backendRefs: [{ name: service, port: route.port }],
        },
      ],
    },
  });
}

function executorLabels(blockId: string, clusterId: string): Record<string, string> {
  return {
    ...ownLabels(clusterId),
    [LABELS.block]: blockId,
    [LABELS.instance]: EXECUTOR,
  };
}
