import type { KubeAccess } from "./kube-api.ts";

/** A kubeconfig file for one user; JSON, which is YAML. */
export function kubeconfigOf(access: KubeAccess, namespace = "default"): string {
  const cluster = {
    server: access.url,
    "certificate-authority-data": Buffer.from(access.ca).toString("base64"),
  };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster }],
    users: [{ name: "test", user: { token: access.token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test", namespace } }],
    "current-context": "test",
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
