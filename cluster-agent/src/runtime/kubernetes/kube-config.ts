import { BerthError } from "@berth/service-kit";
import { KubeConfig } from "@kubernetes/client-node";

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Where the credentials are. */
export interface KubeConfigSource {
  /** Path of a kubeconfig; empty = the service account of the pod that the agent runs in. */
  readonly file: string;
  /** The agent's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Reads the credentials for the API server; PRECONDITION_FAILED says what is missing. */
export function openKubeConfig({ file, env }: KubeConfigSource): KubeConfig {
  const config = new KubeConfig();
  if (file !== "") {
    try {
      config.loadFromFile(file);
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      throw missing(`BERTH_KUBECONFIG: ${file} is not read: ${why}`);
    }
    if (config.getCurrentCluster() === null) {
      throw missing(`BERTH_KUBECONFIG: ${file} has no current context with a cluster`);
    }
    return config;
  }
  const { KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host === "") {
    throw missing(
      "the agent runs in no pod of a cluster: expected a kubeconfig in BERTH_KUBECONFIG",
    );
  }
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  config.loadFromClusterAndUser(
    { name: "in-cluster", server, caFile: `${ACCOUNT}/ca.crt`, skipTLSVerify: false },
    // The library reads the file again each minute: its token is short-lived.
    {
      name: "in-cluster",
      authProvider: { name: "tokenFile", config: { tokenFile: `${ACCOUNT}/token` } },
    },
  );
  return config;
}

function missing(message: string): BerthError {
  return new BerthError("PRECONDITION_FAILED", message);
}
