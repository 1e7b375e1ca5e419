import { BerthError } from "@berth/service-kit";
import type { InstancePhase, ObservedInstance } from "../runtime.ts";
import { INSTANCE_CONTAINER, INSTANCE_PORTS } from "./instance-objects.ts";
import type {
  ContainerStatus,
  DeploymentObject,
  KubeCondition,
  KubeMetadata,
  PodObject,
} from "./kube-objects.ts";
import { ANNOTATIONS, EXECUTOR, LABELS } from "./object-names.ts";

const MAX_MESSAGE_CHARACTERS = 1_000;
/** Reasons of a waiting container that nothing is wrong with. */
const STARTING = ["ContainerCreating", "PodInitializing"];

/** Instances by their Deployments, and what pods they were made of. */
export type MadeInstances = WeakMap<
  DeploymentObject,
  { readonly pods: readonly PodObject[]; readonly instance: ObservedInstance }
>;

/** What an instance's Deployment or pod says of it. */
type Facts = Omit<
  ObservedInstance,
  "ownership" | "phase" | "isReady" | "restarts" | "message" | "podName" | "endpoints"
>;

/**
 * The instances that Deployments and pods of ours amount to, sorted. A pod that no Deployment stands for any more is one too,
 * for as long as it is there. PRECONDITION_FAILED names an object whose annotations do not say what it holds: an
 * observation without it would free GPUs that are in use. `made` keeps instances for the next time, as of thousands a few change
 * between two observations: objects are taken for the same when they are identical, and must not be changed.
 */
export function observedInstances(
  deployments: Iterable<DeploymentObject>,
  pods: Iterable<PodObject>,
  made: MadeInstances = new WeakMap(),
): ObservedInstance[] {
  const podsOf = Map.groupBy(pods, keyOf);
  const observed: (readonly [key: string, instance: ObservedInstance])[] = [];
  for (const deployment of deployments) {
    const key = keyOf(deployment);
    if (isInstance(deployment))
      observed.push([key, madeOf(deployment, podsOf.get(key) ?? [], made)]);
    podsOf.delete(key);
  }
  for (const [key, left] of podsOf) {
    const [first] = left;
    if (first !== undefined && isInstance(first)) observed.push([key, ofPodsAlone(first, left)]);
  }
  return observed.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, instance]) => instance);
}

function madeOf(
  deployment: DeploymentObject,
  pods: readonly PodObject[],
  made: MadeInstances,
): ObservedInstance {
  const former = made.get(deployment);
  const isSame =
    former?.pods.length === pods.length && pods.every((pod, place) => pod === former.pods[place]);
  if (isSame) return former.instance;
  const instance = ofDeployment(deployment, pods);
  made.set(deployment, { pods, instance });
  return instance;
}

function ofDeployment(deployment: DeploymentObject, pods: readonly PodObject[]): ObservedInstance {
  const { metadata = {}, spec } = deployment;
  const facts = factsOf("deployment", metadata, spec?.template?.metadata);
  const pod = currentPod(pods);
  const phase = metadata.deletionTimestamp === undefined ? phaseOf(pod, pods) : "terminating";
  const status = pod && instanceStatus(pod);
  const isReady = phase === "running" && isPodReady(pod);
  const message = isReady ? undefined : messageOf(phase, deployment, pod ?? pods[0]);
  return {
    ...facts,
    ...heldDevices(facts, pods),
    ownership: ownershipOf(metadata),
    ...{ phase, isReady, restarts: status?.restartCount ?? 0 },
    ...(message === undefined ? {} : { message }),
    ...(pod?.metadata?.name === undefined ? {} : { podName: pod.metadata.name }),
    endpoints: phase === "running" ? endpointsOf(pod) : {},
  };
}

function ofPodsAlone(first: PodObject, pods: readonly PodObject[]): ObservedInstance {
  const { metadata = {} } = first;
  const facts = factsOf("pod", metadata, undefined);
  return {
    ...facts,
    ...heldDevices(facts, pods),
    ownership: ownershipOf(metadata),
    ...{ phase: "terminating", isReady: false, restarts: instanceStatus(first)?.restartCount ?? 0 },
    message: "its Deployment is gone, and a pod of it is still there",
    ...(metadata.name === undefined ? {} : { podName: metadata.name }),
    endpoints: {},
  };
}

/** A pod of an earlier spec holds its devices until it is gone, and for all that is known the whole of them. */
function heldDevices(
  { deviceUuids, sharesMiB }: Facts,
  pods: readonly PodObject[],
): Pick<Facts, "deviceUuids" | "sharesMiB"> {
  const texts = pods.map(({ metadata }) => metadata?.annotations ?? {});
  const former = texts.flatMap((annotations) => {
    const held = listed(annotations[ANNOTATIONS.deviceUuids] ?? "");
    const shares = sharesIn(annotations[ANNOTATIONS.deviceShares] ?? "") ?? {};
    return held.map((uuid) => ({ uuid, shareMiB: shares[uuid] }));
  });
  const isHeldOtherwise = (uuid: string) =>
    former.some((one) => one.uuid === uuid && one.shareMiB !== sharesMiB[uuid]);
  const kept = Object.entries(sharesMiB).filter(([uuid]) => !isHeldOtherwise(uuid));
  return {
    deviceUuids: [...new Set([...deviceUuids, ...former.map(({ uuid }) => uuid)])],
    sharesMiB: Object.fromEntries(kept),
  };
}

/** The pod that stands for an instance: one that is not ending, the youngest of them. */
function currentPod(pods: readonly PodObject[]): PodObject | undefined {
  const living = pods.filter(({ metadata, status }) => {
    const isOver = status?.phase === "Failed" || status?.phase === "Succeeded";
    return metadata?.deletionTimestamp === undefined && !isOver;
  });
  return living.reduce<PodObject | undefined>(
    (youngest, pod) => (youngest === undefined || bornAt(pod) > bornAt(youngest) ? pod : youngest),
    undefined,
  );
}

function bornAt({ metadata }: PodObject): string {
  return metadata?.creationTimestamp ?? "";
}

function phaseOf(pod: PodObject | undefined, pods: readonly PodObject[]): InstancePhase {
  if (pod === undefined) return pods.length === 0 ? "pending" : "restarting";
  const status = instanceStatus(pod);
  if (status?.state?.running !== undefined) return "running";
  const hasRun = (status?.restartCount ?? 0) > 0 || status?.state?.terminated !== undefined;
  return hasRun ? "restarting" : "pending";
}

function isPodReady(pod: PodObject | undefined): boolean {
  const conditions = pod?.status?.conditions ?? [];
  return conditions.some(({ type, status }) => type === "Ready" && status === "True");
}

function endpointsOf(pod: PodObject | undefined): ObservedInstance["endpoints"] {
  const address = pod?.status?.podIP;
  if (address === undefined || address === "") return {};
  const host = address.includes(":") ? `[${address}]` : address;
  return {
    control: `http://${host}:${INSTANCE_PORTS.control}`,
    metrics: `http://${host}:${INSTANCE_PORTS.metrics}`,
  };
}

function messageOf(
  phase: InstancePhase,
  deployment: DeploymentObject,
  pod: PodObject | undefined,
): string {
  if (phase === "terminating") return "it is being removed";
  const podTrouble = pod && troubleOf(pod);
  const trouble =
    podTrouble ?? troubled(deployment.status?.conditions, "ReplicaFailure", "True")?.message;
  if (trouble !== undefined) return trouble.slice(0, MAX_MESSAGE_CHARACTERS);
  return phase === "running" ? "its health check does not answer" : "it is not started yet";
}

function troubleOf(pod: PodObject): string | undefined {
  const { status = {} } = pod;
  const unscheduled = troubled(status.conditions, "PodScheduled", "False");
  if (unscheduled !== undefined) return `no node takes it: ${unscheduled.message ?? ""}`;
  if (status.phase === "Failed") return `${status.reason ?? "Failed"}: ${status.message ?? ""}`;
  if (pod.metadata?.deletionTimestamp !== undefined) return "its pod is ending";
  const statuses = [instanceStatus(pod), ...(status.containerStatuses ?? [])];
  return statuses.flatMap((one) => (one === undefined ? [] : (containerTrouble(one) ?? [])))[0];
}

function containerTrouble({ name = "", state = {} }: ContainerStatus): string | undefined {
  const { waiting, terminated } = state;
  if (waiting?.reason !== undefined && !STARTING.includes(waiting.reason)) {
    return `container ${name}: ${waiting.reason}: ${waiting.message ?? ""}`;
  }
  if (terminated === undefined) return undefined;
  return `container ${name} ended with code ${terminated.exitCode ?? "?"}: ${terminated.reason ?? ""}`;
}

function troubled(
  conditions: readonly KubeCondition[] = [],
  type: string,
  status: string,
): KubeCondition | undefined {
  return conditions.find((condition) => condition.type === type && condition.status === status);
}

function instanceStatus(pod: PodObject): ContainerStatus | undefined {
  return pod.status?.containerStatuses?.find(({ name }) => name === INSTANCE_CONTAINER);
}

function ownershipOf({ annotations = {} }: KubeMetadata): ObservedInstance["ownership"] {
  return {
    operationId: annotations[ANNOTATIONS.operationId] ?? "",
    fence: {
      storeId: annotations[ANNOTATIONS.storeId] ?? "",
      controllerTerm: annotations[ANNOTATIONS.controllerTerm] ?? "0",
    },
  };
}

/** What an object says; of what was taken away from it, what its pod template says. */
function factsOf(kind: string, metadata: KubeMetadata, template: KubeMetadata | undefined): Facts {
  const annotations = { ...template?.annotations, ...metadata.annotations };
  const text = (key: keyof typeof ANNOTATIONS): string => {
    const value = annotations[ANNOTATIONS[key]];
    if (value !== undefined) return value;
    throw unreadable(kind, metadata, ANNOTATIONS[key]);
  };
  const amount = (key: keyof typeof ANNOTATIONS): number => {
    const value = text(key);
    if (/^\d{1,15}$/.test(value)) return Number(value);
    throw unreadable(kind, metadata, ANNOTATIONS[key]);
  };
  const sharesMiB = sharesIn(text("deviceShares"));
  if (sharesMiB === undefined) throw unreadable(kind, metadata, ANNOTATIONS.deviceShares);
  return {
    blockId: metadata.labels?.[LABELS.block] ?? "",
    instanceId: metadata.labels?.[LABELS.instance] ?? "",
    nodeId: text("nodeId"),
    allocationId: text("allocationId"),
    deviceUuids: listed(text("deviceUuids")),
    sharesMiB,
    cpuMillis: amount("cpuMillis"),
    memoryMiB: amount("memoryMiB"),
    storageMiB: amount("storageMiB"),
    specDigest: text("specDigest"),
  };
}

function unreadable(kind: string, { name }: KubeMetadata, annotation: string): BerthError {
  const message = `${kind} ${name} has no readable annotation ${annotation}: what it holds is not known; put it back, or remove the ${kind}`;
  return new BerthError("PRECONDITION_FAILED", message);
}

function listed(text: string): string[] {
  return text === "" ? [] : text.split(",");
}

/** Memory by UUID of "GPU-1=1000,GPU-2=500"; undefined for anything else. */
function sharesIn(text: string): Record<string, number> | undefined {
  const pairs = listed(text).map((pair) => /^([^=]+)=(\d{1,9})$/.exec(pair));
  if (pairs.includes(null)) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair?.[1] ?? "", Number(pair?.[2])]));
}

function keyOf({ metadata: { labels = {} } = {} }: DeploymentObject | PodObject): string {
  return `${labels[LABELS.block]}/${labels[LABELS.instance]}`;
}

function isInstance({ metadata: { labels = {} } = {} }: DeploymentObject | PodObject): boolean {
  const { [LABELS.instance]: instanceId, [LABELS.block]: blockId } = labels;
  return blockId !== undefined && instanceId !== undefined && instanceId !== EXECUTOR;
}
