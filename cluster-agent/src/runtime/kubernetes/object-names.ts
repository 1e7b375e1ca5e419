import { createHash } from "node:crypto";
import type { InstanceSpec } from "../runtime.ts";

/** Labels and annotations of our own are below this. */
const DOMAIN = "berth.dev";
/** Longest value of a label, and longest name of a Service. */
const MAX_LABEL_CHARACTERS = 63;
/** Longest id of a block: "<block>-in-x4k9mq2p-svc" is the name of a Service. */
const MAX_BLOCK_CHARACTERS = MAX_LABEL_CHARACTERS - "-in-x4k9mq2p-svc".length;
/** What the existing deployment calls the side of a block that is no instance. */
export const EXECUTOR = "executor";

/** Keys of the labels. `blockID`, `instanceID` and `app` are what the existing deployment's users select by. */
export const LABELS = {
  app: "app",
  block: "blockID",
  instance: "instanceID",
  node: "nodeID",
  cluster: `${DOMAIN}/cluster`,
  managedBy: "app.kubernetes.io/managed-by",
} as const;

/** Keys of the annotations that the ledger can be rebuilt from. */
export const ANNOTATIONS = {
  clusterId: `${DOMAIN}/cluster-id`,
  operationId: `${DOMAIN}/operation-id`,
  storeId: `${DOMAIN}/store-id`,
  controllerTerm: `${DOMAIN}/controller-term`,
  specDigest: `${DOMAIN}/spec-digest`,
  allocationId: `${DOMAIN}/allocation-id`,
  nodeId: `${DOMAIN}/node-id`,
  deviceUuids: `${DOMAIN}/device-uuids`,
  deviceShares: `${DOMAIN}/device-shares-mib`,
  cpuMillis: `${DOMAIN}/cpu-millis`,
  memoryMiB: `${DOMAIN}/memory-mib`,
  storageMiB: `${DOMAIN}/storage-mib`,
} as const;

/** Value of `app.kubernetes.io/managed-by`. */
export const MANAGED_BY = "berth";

/** Which instance: its block and its own id. */
export type InstanceKey = Pick<InstanceSpec, "blockId" | "instanceId">;

/** Name of the root of a block. */
export function rootName(blockId: string): string {
  return `berth-block-${blockId}`;
}

/** Name of an instance's Deployment, and of its container's `app`. */
export function workloadName({ blockId, instanceId }: InstanceKey): string {
  return `${blockId}-${instanceId}`;
}

/** Name of the Service before a Deployment. */
export function serviceName(workload: string): string {
  return `${workload}-svc`;
}

/** The value of the label that says whose an object is: the cluster id, or a digest of one that is no label. */
export function clusterLabel(clusterId: string): string {
  const isLabel = /^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$/.test(clusterId);
  if (isLabel && clusterId.length <= MAX_LABEL_CHARACTERS) return clusterId;
  return `sha256-${createHash("sha256").update(clusterId).digest("hex").slice(0, 40)}`;
}

/** Labels of everything that this cluster's agent makes. */
export function ownLabels(clusterId: string): Record<string, string> {
  return { [LABELS.managedBy]: MANAGED_BY, [LABELS.cluster]: clusterLabel(clusterId) };
}

/** Selector of everything that this cluster's agent made, or of what it made for a block, or for an instance of one. */
export function selectorOf(clusterId: string, of: Partial<InstanceKey> = {}): string {
  const { blockId, instanceId } = of;
  return [
    ...Object.entries(ownLabels(clusterId)),
    ...(blockId === undefined ? [] : [[LABELS.block, blockId]]),
    ...(instanceId === undefined ? [] : [[LABELS.instance, instanceId]]),
  ]
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** Why there can be no objects for a block of this id; undefined when there can. */
export function blockIdRefusal(blockId: string): string | undefined {
  const shown = JSON.stringify(blockId.slice(0, 80));
  if (!/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(blockId)) {
    return `blockId: a Service is named after it, expected a-z, 0-9 and "-", a letter first and no "-" last, got ${shown}`;
  }
  if (blockId.length <= MAX_BLOCK_CHARACTERS) return undefined;
  return `blockId: on Kubernetes expected at most ${MAX_BLOCK_CHARACTERS} characters, got ${blockId.length}`;
}

/** Why there can be no objects for an instance of this name; undefined when there can. */
export function instanceIdRefusal({ blockId, instanceId }: InstanceKey): string | undefined {
  const shown = JSON.stringify(instanceId.slice(0, 80));
  if (instanceId === EXECUTOR) return `instanceId: ${shown} is a reserved word`;
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(instanceId)) {
    return `instanceId: expected a-z, 0-9 and "-", which is neither first nor last, got ${shown}`;
  }
  const name = serviceName(workloadName({ blockId, instanceId }));
  if (name.length <= MAX_LABEL_CHARACTERS) return undefined;
  return `instanceId: expected ${JSON.stringify(name.slice(0, 120))} to have at most ${MAX_LABEL_CHARACTERS} characters`;
}

/** Why no node can be selected by this id; undefined when one can. */
export function nodeIdRefusal(nodeId: string): string | undefined {
  const isLabel = /^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?$/.test(nodeId);
  if (isLabel && nodeId.length <= MAX_LABEL_CHARACTERS) return undefined;
  return `nodeId: expected the value of a node's label ${LABELS.node}, got ${JSON.stringify(nodeId.slice(0, 80))}`;
}
