import { readFileSync } from "node:fs";
import { loadConfig } from "@berth/service-kit/base";
import { expect, it } from "vitest";
import { NODE_AGENT_SETTINGS } from "./settings.ts";
import { AGENT_VERSION } from "./version.ts";

const load = (env: Record<string, string>) => loadConfig(NODE_AGENT_SETTINGS, env);

it("need nothing", () => {
  const loaded = load({});
  expect(loaded).toMatchObject({
    kind: "loaded",
    config: {
      clusterAgentUrl: "http://127.0.0.1:32001",
      enrolmentToken: "",
      caFile: "",
      metricsPort: 9500,
      metricsHost: "127.0.0.1",
    },
  });
});

it.each([
  ["http://127.0.0.1:32001", "http://127.0.0.1:32001"],
  ["http://localhost:5/", "http://localhost:5"],
  ["http://[::1]:32001", "http://[::1]:32001"],
  ["http://127.0.0.1", "http://127.0.0.1"],
  ["https://10.0.0.7:32001/", "https://10.0.0.7:32001"],
  ["https://agents.example.org:32001", "https://agents.example.org:32001"],
])("takes %s", (url, clusterAgentUrl) => {
  const loaded = load({ BERTH_CLUSTER_AGENT_URL: url });
  expect(loaded).toMatchObject({ kind: "loaded", config: { clusterAgentUrl } });
});

it.each([
  ["BERTH_CLUSTER_AGENT_URL", "nonsense", /expected https/],
  ["BERTH_CLUSTER_AGENT_URL", "ftp://127.0.0.1:1", /expected https/],
  [
    "BERTH_CLUSTER_AGENT_URL",
    "http://u:secret@127.0.0.1:1",
    /expected https.* without a user name/,
  ],
  ["BERTH_CLUSTER_AGENT_URL", "http://:secret@127.0.0.1:1", /expected https.* without a user name/],
  ["BERTH_CLUSTER_AGENT_URL", "https://127.0.0.1:1/path", /expected https.* without "\/path"/],
  ["BERTH_CLUSTER_AGENT_URL", "https://127.0.0.1:1?a=b", /expected https.* without "\/\?a=b"/],
  ["BERTH_CLUSTER_AGENT_URL", "https://127.0.0.1:1/#x", /expected https.* without "\/#x"/],
  ["BERTH_CLUSTER_AGENT_URL", "http://10.0.0.7:32001", /not loopback/],
  ["BERTH_CLUSTER_AGENT_URL", "http://127.0.0.1.example.com:1", /not loopback/],
  ["BERTH_NODE_ID", "Upper", /expected 1 to 253/],
  ["BERTH_NODE_ID", "-x", /expected 1 to 253/],
  ["BERTH_METRICS_PORT", "65536", /from 0 to 65535/],
])("refuses %s=%s and says what it expected", (env, text, why) => {
  const loaded = load({ [env]: text });
  expect(loaded.kind).toBe("invalid");
  expect(loaded.kind === "invalid" && loaded.problems.join()).toMatch(why);
  expect(loaded.kind === "invalid" && loaded.problems.join()).toContain(env);
});

it("says the version that its package has", () => {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect(JSON.parse(text).version).toBe(AGENT_VERSION);
});
