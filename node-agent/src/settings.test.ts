import { readFileSync } from "node:fs";
import { loadConfig, silentLogger } from "@berth/service-kit/base";
import { expect, it } from "vitest";
import { composeNodeAgent } from "./compose.ts";
import { NODE_AGENT_SETTINGS } from "./settings.ts";
import { AGENT_VERSION } from "./version.ts";

const load = (env: Record<string, string>) => loadConfig(NODE_AGENT_SETTINGS, env);

it.each([
  ["http://127.0.0.1:32001", "127.0.0.1:32001"],
  ["http://localhost:5/", "localhost:5"],
  ["http://[::1]:32001", "[::1]:32001"],
  ["http://127.0.0.1", "127.0.0.1:80"],
])("dials %s at %s", (url, target) => {
  const loaded = load({ BERTH_CLUSTER_AGENT_URL: url });
  expect(loaded).toMatchObject({ kind: "loaded", config: { clusterAgentTarget: target } });
});

it.each([
  ["BERTH_CLUSTER_AGENT_URL", "nonsense", /expected http/],
  ["BERTH_CLUSTER_AGENT_URL", "https://127.0.0.1:1", /expected http/],
  ["BERTH_CLUSTER_AGENT_URL", "http://u:p@127.0.0.1:1", /expected http/],
  ["BERTH_CLUSTER_AGENT_URL", "http://10.0.0.7:32001", /expected a loopback address/],
  ["BERTH_CLUSTER_AGENT_URL", "http://127.0.0.1.example.com:1", /expected a loopback address/],
  ["BERTH_NODE_TOKEN", "two words", /expected 1 to 1024 printable/],
  ["BERTH_NODE_ID", "Upper", /expected 1 to 253/],
  ["BERTH_NODE_ID", "-x", /expected 1 to 253/],
])("refuses %s=%s and says what it expected", (env, text, why) => {
  const loaded = load({ [env]: text });
  expect(loaded.kind).toBe("invalid");
  expect(loaded.kind === "invalid" && loaded.problems.join()).toMatch(why);
  expect(loaded.kind === "invalid" && loaded.problems.join()).toContain(env);
});

it("does not start without a token and names the setting", () => {
  const loaded = load({});
  if (loaded.kind === "invalid") throw new Error("expected the defaults to load");
  expect(() => composeNodeAgent(loaded.config, silentLogger)).toThrow(/^BERTH_NODE_TOKEN: /);
});

it("says the version that its package has", () => {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect(JSON.parse(text).version).toBe(AGENT_VERSION);
});
