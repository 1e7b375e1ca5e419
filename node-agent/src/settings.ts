import {
  type Config,
  listSetting,
  portSetting,
  type Setting,
  textSetting,
} from "@berth/service-kit/base";

const NODE_ID_FORM = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** Settings of the node-agent. */
export const NODE_AGENT_SETTINGS = {
  dataDir: textSetting({
    env: "BERTH_DATA_DIR",
    doc: "directory of this agent's own state; created when missing",
    fallback: ".berth/node-agent",
  }),
  clusterAgentUrl: {
    env: "BERTH_CLUSTER_AGENT_URL",
    doc: "where the cluster-agent takes node-agents: https://<host>:<port>, or http:// on loopback",
    fallback: "http://127.0.0.1:32001",
    read: readUrl,
  } satisfies Setting<string>,
  enrolmentToken: textSetting({
    env: "BERTH_ENROLMENT_TOKEN",
    doc: "enrolment token that is shown to the cluster-agent at the first join",
    fallback: "",
  }),
  caFile: textSetting({
    env: "BERTH_CA_FILE",
    doc: "PEM file of the CA that the cluster-agent's certificate is checked with, instead of the enrolment token's pin",
    fallback: "",
  }),
  nodeId: {
    env: "BERTH_NODE_ID",
    doc: "id that the node would like; by default the host name in lower case",
    fallback: "",
    read: (text) =>
      expecting(
        NODE_ID_FORM,
        text,
        "1 to 253 of a-z, 0-9, . and -, a letter or digit at both ends",
      ),
  } satisfies Setting<string>,
  nvidiaSmi: textSetting({
    env: "BERTH_NVIDIA_SMI",
    doc: "executable name or path of nvidia-smi",
    fallback: "nvidia-smi",
  }),
  kernelLog: textSetting({
    env: "BERTH_KERNEL_LOG",
    doc: "kernel log that XIDs are read from, or a file in its form",
    fallback: "/dev/kmsg",
  }),
  metricsPort: portSetting({
    env: "BERTH_METRICS_PORT",
    doc: "port that serves `GET /metrics` for Prometheus; 0 serves none; a taken one is only a warning",
    fallback: 9500,
  }),
  metricsHost: textSetting({
    env: "BERTH_METRICS_HOST",
    doc: "address that metrics are served on; beyond loopback whoever reaches it can read them",
    fallback: "127.0.0.1",
  }),
  allowedHosts: listSetting({
    env: "BERTH_ALLOWED_HOSTS",
    doc: "host names beyond loopback and BERTH_METRICS_HOST that the Host header of a scrape may carry",
    fallback: [],
  }),
  allowedOrigins: listSetting({
    env: "BERTH_ALLOWED_ORIGINS",
    doc: "origins beyond loopback ones that browsers may read metrics from",
    fallback: [],
  }),
};

/** Values of {@link NODE_AGENT_SETTINGS}. */
export type NodeAgentConfig = Config<typeof NODE_AGENT_SETTINGS>;

function expecting(form: RegExp, text: string, expected: string): string {
  if (form.test(text)) return text;
  throw new Error(`expected ${expected}`);
}

/** Reads a URL and gives it without a trailing slash. */
function readUrl(text: string): string {
  const url = URL.parse(text);
  const expected = "expected https://<host>:<port>, or http:// and a loopback address";
  if (url === null || !/^https?:$/.test(url.protocol)) throw new Error(expected);
  if (url.username !== "" || url.password !== "") {
    throw new Error(`${expected}, without a user name or password`);
  }
  const more = `${url.pathname}${url.search}${url.hash}`;
  if (more !== "/") throw new Error(`${expected}, without ${JSON.stringify(more)}`);
  // The key would travel in the clear to any other machine.
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new Error("expected https:// for an address that is not loopback");
  }
  return url.origin;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}
