import { writeFileSync } from "node:fs";
import path from "node:path";
import { KubeApi } from "./kube-api.ts";
import { kubeconfigOf } from "./kubeconfig.ts";
import type { Kubernetes } from "./start-kubernetes.ts";

const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const RBAC_GROUP = "rbac.authorization.k8s.io";
const DAY_SECONDS = 86_400;

/** What a service account may do: in one namespace, or, without one, in the whole cluster. */
export interface AllowedRule {
  readonly namespace?: string;
  /** [""] is the core group. */
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** The API in the name of a service account. */
export interface ServiceAccountAccess {
  readonly token: string;
  readonly kubeconfig: string;
  /** File with the kubeconfig, in the control plane's directory. */
  readonly kubeconfigPath: string;
  readonly api: KubeApi;
}

/** Creates a service account that may do what the rules say and nothing else. */
export async function createServiceAccount(
  kubernetes: Kubernetes,
  account: {
    readonly namespace: string;
    readonly name: string;
    readonly rules: readonly AllowedRule[];
  },
): Promise<ServiceAccountAccess> {
  const { namespace, name, rules } = account;
  const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
  await kubernetes.api.request("POST", accounts, { body: { metadata: { name } } });
  const scopes = new Set(rules.map((rule) => rule.namespace));
  for (const scope of scopes) {
    const allowed = rules.filter((rule) => rule.namespace === scope);
    await allow(kubernetes.api, { account, scope, rules: allowed.map(withoutNamespace) });
  }
  return serviceAccountAccess(kubernetes, namespace, name);
}

/** A token (valid for a day) and kubeconfig for a service account that is there. */
export async function serviceAccountAccess(
  kubernetes: Kubernetes,
  namespace: string,
  name: string,
): Promise<ServiceAccountAccess> {
  const { status } = await kubernetes.api.request<{ status: { token: string } }>(
    "POST",
    `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
    { body: { spec: { expirationSeconds: DAY_SECONDS } } },
  );
  const access = { ...kubernetes.access, token: status.token };
  const kubeconfig = kubeconfigOf(access, namespace);
  const kubeconfigPath = path.join(kubernetes.directory, `${namespace}-${name}.kubeconfig`);
  writeFileSync(kubeconfigPath, kubeconfig, { mode: 0o600 });
  return { token: status.token, kubeconfig, kubeconfigPath, api: new KubeApi(access) };
}

function withoutNamespace({ namespace: _, ...rule }: AllowedRule): object {
  return rule;
}

async function allow(
  api: KubeApi,
  given: {
    readonly account: { readonly namespace: string; readonly name: string };
    readonly scope: string | undefined;
    readonly rules: readonly object[];
  },
): Promise<void> {
  const { account, scope, rules } = given;
  const prefix = scope === undefined ? "Cluster" : "";
  const folder = scope === undefined ? RBAC : `${RBAC}/namespaces/${scope}`;
  const metadata = { name: `${account.namespace}-${account.name}` };
  const plural = `${prefix.toLowerCase()}role`;
  await api.request("POST", `${folder}/${plural}s`, { body: { metadata, rules } });
  const body = {
    metadata,
    roleRef: { apiGroup: RBAC_GROUP, kind: `${prefix}Role`, name: metadata.name },
    subjects: [{ kind: "ServiceAccount", namespace: account.namespace, name: account.name }],
  };
  await api.request("POST", `${folder}/${plural}bindings`, { body });
}
