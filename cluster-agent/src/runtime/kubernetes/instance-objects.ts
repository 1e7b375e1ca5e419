import type { V1Container, V1Deployment, V1Service } from "@kubernetes/client-node";
import { type InstanceSpec, sharesOf } from "../runtime.ts";
import { specDigest } from "../spec-digest.ts";
import { type ObjectRules, ownershipAnnotations } from "./block-objects.ts";
import { type GpuBinding, gpuLimits, gpuVariables, withoutGpuVariables } from "./gpu-binding.ts";
import type { KubeObject } from "./kube-objects.ts";
import {
  ANNOTATIONS,
  type InstanceKey,
  LABELS,
  ownLabels,
  serviceName,
  workloadName,
} from "./object-names.ts";
import {
  asSent,
  extraContainer,
  literal,
  ownedBy,
  podBase,
  RESTRICTED,
  servicePorts,
  variables,
} from "./pod-parts.ts";

/** Name of the component's container. */
export const INSTANCE_CONTAINER = "instance";

/** Ports of an instance, as the existing deployment's instances have them. */
export const INSTANCE_PORTS = { metrics: 18_000, control: 18_001, websocket: 18_002 } as const;

/** What objects of instances are built with. */
export interface InstanceRules extends ObjectRules {
  readonly gpuBinding: GpuBinding;
}

/** The Deployment of an instance. Its pod template says nothing of who ordered it: that may change without a restart. */
export function instanceDeployment(
  spec: InstanceSpec,
  root: KubeObject,
  rules: InstanceRules,
): KubeObject {
  const { clusterId, namespace, options } = rules;
  const { blockId, instanceId, nodeId } = spec;
  const name = workloadName(spec);
  const labels = instanceLabels(spec, clusterId);
  const facts = factAnnotations(spec, clusterId);
  const { runtimeClassName, instance: { sidecars = [] } = {} } = options;
  const env = { BLOCK_ID: blockId, INSTANCE_ID: instanceId, CLUSTER_ID: clusterId };
  return asSent<V1Deployment>({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: {
      name,
      namespace,
      labels,
      annotations: { ...facts, ...ownershipAnnotations(spec.ownership) },
      ownerReferences: ownedBy(root),
    },
    spec: {
      replicas: 1,
      // Two pods at once would share GPUs.
      strategy: { type: "Recreate" },
      selector: { matchLabels: { [LABELS.app]: name } },
      template: {
        metadata: { labels: { [LABELS.app]: name, ...labels }, annotations: facts },
        spec: {
          ...podBase(options),
          ...(runtimeClassName === undefined || spec.devices.length === 0
            ? {}
            : { runtimeClassName }),
          nodeSelector: { [LABELS.node]: nodeId },
          containers: [
            instanceContainer(spec, rules),
            ...sidecars.map((one) => extraContainer(one, { ...env, NODE_ID: nodeId })),
          ],
        },
      },
    },
  });
}

/** The Service of an instance; it ends with its Deployment. */
export function instanceService(
  key: InstanceKey,
  deployment: KubeObject,
  { clusterId, namespace, options }: ObjectRules,
): KubeObject {
  const name = workloadName(key);
  const own = Object.entries(INSTANCE_PORTS).map(([portName, port]) => ({ name: portName, port }));
  const sidecars = options.instance?.sidecars ?? [];
  return asSent<V1Service>({
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: serviceName(name),
      namespace,
      labels: instanceLabels(key, clusterId),
      ownerReferences: ownedBy(deployment),
    },
    spec: {
      type: "ClusterIP",
      selector: { [LABELS.app]: name },
      ports: servicePorts([...own, ...sidecars.flatMap(({ ports = [] }) => ports)]),
    },
  });
}

function instanceContainer(spec: InstanceSpec, rules: InstanceRules): V1Container {
  const { image = "", command } = spec;
  const { readinessPeriodSeconds: periodSeconds = 5 } = rules.options;
  const amounts = resourcesOf(spec);
  return {
    name: INSTANCE_CONTAINER,
    image,
    ...(command === undefined ? {} : { command: command.map(literal) }),
    env: variables({
      ...withoutGpuVariables({ ...rules.options.instance?.env, ...spec.env }),
      ...ownVariables(spec, rules),
    }),
    ports: Object.entries(INSTANCE_PORTS).map(([name, port]) => ({
      name,
      containerPort: port,
      protocol: "TCP",
    })),
    readinessProbe: {
      httpGet: { path: "/health", port: INSTANCE_PORTS.control },
      periodSeconds,
      timeoutSeconds: Math.min(periodSeconds, 3),
    },
    resources: {
      requests: amounts,
      limits: { ...amounts, ...gpuLimits(spec, rules.gpuBinding) },
    },
    securityContext: RESTRICTED,
  };
}

function ownVariables(
  spec: InstanceSpec,
  { clusterId, gpuBinding }: InstanceRules,
): Record<string, string> {
  return {
    INSTANCE_ID: spec.instanceId,
    BLOCK_ID: spec.blockId,
    CLUSTER_ID: clusterId,
    NODE_ID: spec.nodeId,
    ...gpuVariables(spec, gpuBinding),
    ...(spec.initDataJson === undefined ? {} : { CUSTOM_INIT_DATA: spec.initDataJson }),
    BERTH_CONTROL_PORT: String(INSTANCE_PORTS.control),
    BERTH_METRICS_PORT: String(INSTANCE_PORTS.metrics),
    BERTH_LISTEN_HOST: "0.0.0.0",
  };
}

/** What is not asked for is not bounded. */
function resourcesOf({ cpuMillis, memoryMiB, storageMiB }: InstanceSpec): Record<string, string> {
  return {
    ...(cpuMillis === 0 ? {} : { cpu: `${cpuMillis}m` }),
    ...(memoryMiB === 0 ? {} : { memory: `${memoryMiB}Mi` }),
    ...(storageMiB === 0 ? {} : { "ephemeral-storage": `${storageMiB}Mi` }),
  };
}

function instanceLabels(
  { blockId, instanceId }: InstanceKey,
  clusterId: string,
): Record<string, string> {
  return {
    ...ownLabels(clusterId),
    [LABELS.block]: blockId,
    [LABELS.instance]: instanceId,
  };
}

/** What the ledger is rebuilt from. */
function factAnnotations(spec: InstanceSpec, clusterId: string): Record<string, string> {
  return {
    [ANNOTATIONS.clusterId]: clusterId,
    [ANNOTATIONS.specDigest]: specDigest(spec),
    [ANNOTATIONS.allocationId]: spec.allocationId,
    [ANNOTATIONS.nodeId]: spec.nodeId,
    [ANNOTATIONS.deviceUuids]: spec.devices.map(({ uuid }) => uuid).join(","),
    [ANNOTATIONS.deviceShares]: Object.entries(sharesOf(spec.devices))
      .map(([uuid, memoryMiB]) => `${uuid}=${memoryMiB}`)
      .join(","),
    [ANNOTATIONS.cpuMillis]: String(spec.cpuMillis),
    [ANNOTATIONS.memoryMiB]: String(spec.memoryMiB),
    [ANNOTATIONS.storageMiB]: String(spec.storageMiB),
  };
}
