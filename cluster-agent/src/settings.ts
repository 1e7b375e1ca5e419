import {
  integerSetting,
  listSetting,
  portSetting,
  type Setting,
  textSetting,
} from "@berth/service-kit";

/** Settings of the cluster-agent; the README's table is made from these. */
export const settings = {
  dataDir: textSetting({
    env: "BERTH_DATA_DIR",
    doc: "directory of the cluster-agent's own state",
    fallback: ".berth/cluster-agent",
  }),
  host: loopbackHostSetting(),
  httpPort: portSetting({
    env: "BERTH_HTTP_PORT",
    doc: "the cluster's REST surface",
    fallback: 32_000,
  }),
  nodePort: portSetting({
    env: "BERTH_NODE_PORT",
    doc: "HTTP/2: node-agents dial it",
    fallback: 32_001,
  }),
  controlPlaneUrl: urlSetting({
    env: "BERTH_CONTROL_PLANE_URL",
    doc: "agent port of the control-plane",
    fallback: "http://127.0.0.1:7443",
  }),
  linkToken: requiredText("BERTH_LINK_TOKEN", "token shown to the control-plane"),
  nodeToken: requiredText("BERTH_NODE_TOKEN", "token that node-agents must present"),
  clusterId: clusterIdSetting(),
  regionId: textSetting({
    env: "BERTH_REGION_ID",
    doc: "region of the cluster, until an update of the cluster says otherwise",
    fallback: "local",
  }),
  clusterTags: listSetting({
    env: "BERTH_CLUSTER_TAGS",
    doc: "tags of the cluster, until an update of the cluster says otherwise",
    fallback: [],
  }),
  nodeTtlMs: integerSetting({
    env: "BERTH_NODE_TTL_MS",
    doc: "silence after which a node's telemetry is lost, in ms, 1000-600000",
    fallback: 15_000,
    min: 1_000,
    max: 600_000,
  }),
  allowedHosts: listSetting({
    env: "BERTH_ALLOWED_HOSTS",
    doc: "host names beyond loopback that the Host header may carry",
    fallback: [],
  }),
  allowedOrigins: listSetting({
    env: "BERTH_ALLOWED_ORIGINS",
    doc: "origins beyond loopback ones that browsers may call from",
    fallback: [],
  }),
};

/** Sampling intervals that node-agents are told, in ms. */
export const SAMPLING = { gpuMs: 1_000, hostMs: 5_000 } as const;

function loopbackHostSetting(): Setting<string> {
  return {
    env: "BERTH_HOST",
    doc: "address to listen on; a loopback one",
    fallback: "127.0.0.1",
    read: (text) => {
      if (/^(localhost|127(\.\d{1,3}){3}|::1)$/.test(text)) return text;
      throw new Error("expected a loopback address (other addresses need TLS)");
    },
  };
}

function clusterIdSetting(): Setting<string> {
  return {
    env: "BERTH_CLUSTER_ID",
    doc: "id of the cluster, 1-253 characters of [a-zA-Z0-9._-]",
    fallback: "local",
    read: (text) => {
      if (/^[a-zA-Z0-9._-]{1,253}$/.test(text)) return text;
      throw new Error("expected 1-253 characters of [a-zA-Z0-9._-]");
    },
  };
}

function urlSetting(described: Pick<Setting<string>, "env" | "doc" | "fallback">): Setting<string> {
  return {
    ...described,
    read: (text) => {
      const url = URL.parse(text);
      if (url !== null && /^https?:$/.test(url.protocol)) return text.replace(/\/+$/, "");
      throw new Error("expected a URL such as http://127.0.0.1:7443");
    },
  };
}

function requiredText(env: string, doc: string): Setting<string> {
  return { ...textSetting({ env, doc, fallback: "" }), required: true };
}
