import { BerthError, type Config, type Setting, textSetting } from "@berth/service-kit/base";

const NODE_ID_FORM = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const TOKEN_FORM = /^[\x21-\x7e]{1,1024}$/;

/** Settings of the node-agent. */
export const NODE_AGENT_SETTINGS = {
  dataDir: textSetting({
    env: "BERTH_DATA_DIR",
    doc: "directory of this agent's own state; created when missing",
    fallback: ".berth/node-agent",
  }),
  clusterAgentTarget: {
    env: "BERTH_CLUSTER_AGENT_URL",
    doc: "where the cluster-agent takes node-agents: http://<loopback address>:<port>",
    fallback: "127.0.0.1:32001",
    read: readTarget,
  } satisfies Setting<string>,
  token: {
    env: "BERTH_NODE_TOKEN",
    doc: "credential that the cluster-agent expects of node-agents; required",
    fallback: "",
    read: (text) => expecting(TOKEN_FORM, text, "1 to 1024 printable ASCII characters, no space"),
  } satisfies Setting<string>,
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
};

/** Values of {@link NODE_AGENT_SETTINGS}. */
export type NodeAgentConfig = Config<typeof NODE_AGENT_SETTINGS>;

/** Checks what one variable alone cannot tell; throws BerthError INVALID_ARGUMENT naming it. */
export function checkConfig(config: NodeAgentConfig): void {
  if (config.token !== "") return;
  const message =
    "BERTH_NODE_TOKEN: expected the token that the cluster-agent knows; it is not set";
  throw new BerthError("INVALID_ARGUMENT", message);
}

function expecting(form: RegExp, text: string, expected: string): string {
  if (form.test(text)) return text;
  throw new Error(`expected ${expected}`);
}

/** Reads "http://host:port" into the "host:port" that gRPC dials. */
function readTarget(text: string): string {
  const url = URL.parse(text);
  if (url === null || url.protocol !== "http:" || url.username !== "" || url.pathname !== "/") {
    throw new Error("expected http://<loopback address>:<port>");
  }
  const { hostname } = url;
  // The token would travel in the clear to any other machine; TLS comes with a later release.
  if (hostname !== "localhost" && hostname !== "[::1]" && !/^127(\.\d+){3}$/.test(hostname)) {
    throw new Error("expected a loopback address; links to other machines need TLS");
  }
  return `${hostname}:${url.port === "" ? "80" : url.port}`;
}
