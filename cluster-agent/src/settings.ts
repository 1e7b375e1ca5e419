import { isIP } from "node:net";
import {
  choiceSetting,
  integerSetting,
  isLoopback,
  listSetting,
  loopbackHostSetting,
  portSetting,
  type Setting,
  serverNamesSetting,
  textSetting,
} from "@berth/service-kit";
import { GPU_BINDINGS } from "./runtime/kubernetes/gpu-binding.ts";

/** Settings of every cluster-agent, whatever its blocks run on. */
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
    doc: "agent port of the control-plane: https://<host>:<port>, or http:// on loopback",
    fallback: "http://127.0.0.1:7443",
  }),
  enrolmentToken: textSetting({
    env: "BERTH_ENROLMENT_TOKEN",
    doc: "enrolment token that is shown to the control-plane at the first join",
    fallback: "",
  }),
  caFile: textSetting({
    env: "BERTH_CA_FILE",
    doc: "PEM file of the CA that the control-plane's certificate is checked with, instead of the enrolment token's pin",
    fallback: "",
  }),
  nodeHost: nodeHostSetting(),
  nodeNames: serverNamesSetting({
    env: "BERTH_NODE_NAMES",
    doc: "names and addresses that node-agents dial, for the certificate; the host name and this machine's addresses are in it anyway",
  }),
  localToken: textSetting({
    env: "BERTH_LOCAL_TOKEN",
    doc: "enrolment token for the node-agent of this machine; any number of uses, never expires",
    fallback: "",
  }),
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
  sandboxDir: textSetting({
    env: "BERTH_SANDBOX_DIR",
    doc: "directory of the memory image that policy workers start from, by default below BERTH_DATA_DIR; programs of one machine may share it",
    fallback: "",
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

/** Settings of what blocks run on. */
export const runtimeSettings = {
  runtime: choiceSetting({
    env: "BERTH_RUNTIME",
    doc: "where blocks run: process (on this machine) or kubernetes",
    fallback: "process",
    choices: ["process", "kubernetes"],
  }),
  kubeconfig: textSetting({
    env: "BERTH_KUBECONFIG",
    doc: "kubeconfig for the Kubernetes runtime; without one, the service account of the agent's own pod",
    fallback: "",
  }),
  kubernetesNamespace: namespaceSetting(),
  kubernetesGpuBinding: choiceSetting({
    env: "BERTH_KUBERNETES_GPU_BINDING",
    doc: "how instances get GPUs: exclusive (Berth owns the nodes' GPUs and names them) or counted (nvidia.com/gpu limits)",
    fallback: "exclusive",
    choices: GPU_BINDINGS,
  }),
  kubernetesWorkloads: textSetting({
    env: "BERTH_KUBERNETES_WORKLOADS",
    doc: "YAML file with side-cars, executor, route, pull secrets and the like for the objects of blocks; see docs/kubernetes.md",
    fallback: "",
  }),
};

/** All settings of the program. */
export const programSettings = { ...settings, ...runtimeSettings };

/** Sampling intervals that node-agents are told, in ms. */
export const SAMPLING = { gpuMs: 1_000, hostMs: 5_000 } as const;

function nodeHostSetting(): Setting<string> {
  return {
    env: "BERTH_NODE_HOST",
    doc: "address that node-agents dial, by default BERTH_HOST; one that is not loopback turns TLS on, with a CA in the data directory",
    fallback: "",
    read: (text) => {
      if (isIP(text) !== 0 || /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$/.test(text)) {
        return text;
      }
      throw new Error("expected an address of this machine, such as 0.0.0.0, :: or 10.0.0.7");
    },
  };
}

function namespaceSetting(): Setting<string> {
  return {
    env: "BERTH_KUBERNETES_NAMESPACE",
    doc: "namespace of the blocks on Kubernetes; it has to exist",
    fallback: "blocks",
    read: (text) => {
      if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
      throw new Error("expected the name of a namespace: at most 63 of a-z, 0-9 and -");
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
      if (url === null || !/^https?:$/.test(url.protocol)) {
        throw new Error("expected a URL such as https://10.0.0.1:7443");
      }
      // The agent's key would travel in the clear to any other machine.
      if (url.protocol === "http:" && !isLoopback(url.hostname.replace(/^\[|\]$/g, ""))) {
        throw new Error("expected https:// for an address that is not loopback");
      }
      // Calls go to paths of the port itself: anything else would be answered with 404 for ever.
      const more = `${url.pathname}${url.search}${url.hash}`;
      if (more !== "/") {
        throw new Error(`expected <scheme>://<host>:<port> only, without ${JSON.stringify(more)}`);
      }
      if (url.username !== "" || url.password !== "") {
        throw new Error("expected <scheme>://<host>:<port> only, without a user name or password");
      }
      return url.origin;
    },
  };
}
