import type {
  KubernetesObject,
  V1Container,
  V1EnvVar,
  V1OwnerReference,
  V1PodSpec,
  V1SecurityContext,
} from "@kubernetes/client-node";
import type { KubeObject } from "./kube-objects.ts";
import type { ExtraContainer, WorkloadOptions } from "./workload-options.ts";

/** Taint that GPU nodes commonly have. */
const GPU_TOLERATION = { key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" } as const;

/** Namespaced parts of the Pod Security Standard "restricted" that a container declares. */
export const RESTRICTED: V1SecurityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ["ALL"] },
};

/** What all pods have: no token, no links of Services in their environment, the standard "restricted". */
export function podBase(options: WorkloadOptions): Omit<V1PodSpec, "containers"> {
  const { imagePullSecrets = [], tolerations, terminationGraceSeconds } = options;
  const { runAsUser, runAsGroup, fsGroup } = options;
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
      ...(runAsUser === undefined ? {} : { runAsUser }),
      ...(runAsGroup === undefined ? {} : { runAsGroup }),
      ...(fsGroup === undefined ? {} : { fsGroup }),
    },
    tolerations: tolerations ?? [GPU_TOLERATION],
    ...(imagePullSecrets.length === 0
      ? {}
      : { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
    ...(terminationGraceSeconds === undefined
      ? {}
      : { terminationGracePeriodSeconds: terminationGraceSeconds }),
  };
}

/** Variables that only the pod knows: where it runs, and under which address. */
const POD_FIELDS: Readonly<Record<string, string>> = {
  KUBERNETES_NODE_NAME: "spec.nodeName",
  POD_IP: "status.podIP",
};

/** Variables of a container, literally: Kubernetes would expand "$(NAME)" in a value. */
export function variables(env: Readonly<Record<string, string>>): V1EnvVar[] {
  const own = Object.entries(env)
    .filter(([name]) => !Object.hasOwn(POD_FIELDS, name))
    .map(([name, value]) => ({ name, value: literal(value) }));
  const fields = Object.entries(POD_FIELDS).map(([name, fieldPath]) => ({
    name,
    valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } },
  }));
  return [...own, ...fields];
}

/** A text of which Kubernetes expands nothing. */
export function literal(text: string): string {
  return text.replaceAll("$(", () => "$$(");
}

/** A container of the operator's own, with `env` beside its own environment. */
export function extraContainer(
  extra: ExtraContainer,
  env: Readonly<Record<string, string>>,
): V1Container {
  const { name, image, command, args, ports = [], resources } = extra;
  return {
    ...{ name, image },
    ...(command === undefined ? {} : { command }),
    ...(args === undefined ? {} : { args }),
    env: variables({ ...extra.env, ...env, NVIDIA_VISIBLE_DEVICES: "void" }),
    ports: ports.map((one) => ({ name: one.name, containerPort: one.port, protocol: "TCP" })),
    ...(resources === undefined ? {} : { resources: { requests: resources, limits: resources } }),
    securityContext: RESTRICTED,
  };
}

/** Ports of a Service, each on the container's port of the same number. */
export function servicePorts(ports: readonly { readonly name: string; readonly port: number }[]) {
  return ports.map(({ name, port }) => ({ name, port, targetPort: port, protocol: "TCP" }));
}

/** Lets an object end with its owner, and its owner not before it. */
export function ownedBy(owner: KubeObject): V1OwnerReference[] {
  const { apiVersion = "", kind = "", metadata: { name = "", uid = "" } = {} } = owner;
  return [{ apiVersion, kind, name, uid, blockOwnerDeletion: true }];
}

/** An object that was built as the library types it, as the API takes and gives it: times are texts there. */
export function asSent<T extends KubernetesObject>(built: T): KubeObject {
  return built as unknown as KubeObject;
}
