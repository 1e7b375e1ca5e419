import { isNotFound, type KubeApi } from "./kube-api.ts";
import type { ContainerSpec, EnvEntry, KeyReference, Pod } from "./pod.ts";

type Variables = Readonly<Record<string, string>>;
type Kind = "configmaps" | "secrets";

interface DataObject {
  readonly data?: Variables;
}

/** Where a variable's value comes from besides the pod itself. */
interface Surroundings {
  readonly api: KubeApi;
  readonly pod: Pod;
  readonly podIP: string;
}

/** The environment that a kubelet gives to a container; rejects while a ConfigMap or Secret is missing. */
export async function containerEnv(
  container: ContainerSpec,
  surroundings: Surroundings,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const kind = secretRef === undefined ? "configmaps" : "secrets";
    const reference = secretRef ?? configMapRef;
    if (reference === undefined) continue;
    const data = await dataOf(kind, reference, surroundings);
    for (const [name, value] of Object.entries(data)) env[prefix + name] = value;
  }
  for (const entry of container.env ?? []) {
    const value = await variableOf(entry, surroundings);
    if (value !== undefined) env[entry.name] = expanded(value, env);
  }
  return env;
}

/** Replaces `$(NAME)` by a variable that is known; `$$` is a dollar sign. */
export function expanded(text: string, env: Variables): string {
  return text.replace(/\$\$|\$\(([^)]+)\)/g, (found, name) => {
    if (found === "$$") return "$";
    return env[name] ?? found;
  });
}

async function variableOf(entry: EnvEntry, around: Surroundings): Promise<string | undefined> {
  const { value, valueFrom } = entry;
  if (valueFrom?.fieldRef) return fieldOf(valueFrom.fieldRef.fieldPath, around);
  if (valueFrom?.configMapKeyRef) return keyOf("configmaps", valueFrom.configMapKeyRef, around);
  if (valueFrom?.secretKeyRef) return keyOf("secrets", valueFrom.secretKeyRef, around);
  return value ?? "";
}

function fieldOf(fieldPath: string, { pod, podIP }: Surroundings): string {
  const subscript = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(fieldPath);
  if (subscript !== null) {
    const [, map, key = ""] = subscript;
    return (map === "labels" ? pod.metadata.labels : pod.metadata.annotations)?.[key] ?? "";
  }
  const fields: Variables = {
    "metadata.name": pod.metadata.name,
    "metadata.namespace": pod.metadata.namespace ?? "",
    "metadata.uid": pod.metadata.uid ?? "",
    "spec.nodeName": pod.spec.nodeName ?? "",
    "spec.serviceAccountName": pod.spec.serviceAccountName ?? "",
    "status.hostIP": "127.0.0.1",
    "status.podIP": podIP,
  };
  const value = fields[fieldPath];
  if (value === undefined) throw new Error(`fieldRef ${fieldPath} is not simulated`);
  return value;
}

async function keyOf(
  kind: Kind,
  reference: KeyReference,
  around: Surroundings,
): Promise<string | undefined> {
  const value = (await dataOf(kind, reference, around))[reference.key];
  if (value !== undefined || reference.optional) return value;
  throw new Error(`${kind} ${reference.name} has no ${reference.key}`);
}

async function dataOf(
  kind: Kind,
  reference: { readonly name: string; readonly optional?: boolean },
  { api, pod }: Surroundings,
): Promise<Variables> {
  const path = `/api/v1/namespaces/${pod.metadata.namespace}/${kind}/${reference.name}`;
  try {
    const { data = {} } = await api.get<DataObject>(path);
    if (kind === "configmaps") return data;
    const decoded = Object.entries(data).map(([key, value]) => [
      key,
      Buffer.from(value, "base64").toString("utf8"),
    ]);
    return Object.fromEntries(decoded);
  } catch (thrown) {
    if (reference.optional && isNotFound(thrown)) return {};
    throw thrown;
  }
}
