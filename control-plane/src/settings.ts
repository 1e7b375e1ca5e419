import {
  listSetting,
  loopbackHostSetting,
  portSetting,
  requiredTextSetting,
  textSetting,
} from "@berth/service-kit";

/** Settings of the control-plane; the README's table is made from these. */
export const settings = {
  dataDir: textSetting({
    env: "BERTH_DATA_DIR",
    doc: "directory of the control-plane's own state",
    fallback: ".berth/control-plane",
  }),
  host: loopbackHostSetting(),
  httpPort: portSetting({
    env: "BERTH_HTTP_PORT",
    doc: "REST, OpenAPI and WebSocket /ws/allocate",
    fallback: 8000,
  }),
  wsPort: portSetting({
    env: "BERTH_WS_PORT",
    doc: "WebSocket of the resource allocator",
    fallback: 8765,
  }),
  agentPort: portSetting({
    env: "BERTH_AGENT_PORT",
    doc: "HTTP/2: cluster-agents dial it",
    fallback: 7443,
  }),
  orgId: textSetting({
    env: "BERTH_ORG_ID",
    doc: "organization that records belong to",
    fallback: "default_org",
  }),
  linkToken: requiredTextSetting({
    env: "BERTH_LINK_TOKEN",
    doc: "token that cluster-agents must present",
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
