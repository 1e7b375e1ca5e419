import { loadConfig } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { settings } from "./settings.ts";

describe("settings", () => {
  it("need nothing, and keep every port on loopback", () => {
    const loaded = loadConfig(settings, {});
    if (loaded.kind === "invalid") throw new Error(loaded.problems.join());
    expect(loaded.config).toMatchObject({
      httpPort: 32_000,
      nodePort: 32_001,
      host: "127.0.0.1",
      clusterId: "local",
      nodeTtlMs: 15_000,
      nodeHost: "",
      enrolmentToken: "",
      localToken: "",
    });
  });

  it.each(["0.0.0.0", "::", "10.0.0.7", "fe80::1", "gpu-1.example.org"])(
    "take %s for the address of node-agents",
    (text) => {
      const loaded = loadConfig(settings, { BERTH_NODE_HOST: text });
      expect(loaded).toMatchObject({ kind: "loaded", config: { nodeHost: text } });
    },
  );

  it.each([
    ["https://10.0.0.1:7443", "https://10.0.0.1:7443"],
    ["https://10.0.0.1:7443/", "https://10.0.0.1:7443"],
    ["https://control.example.org", "https://control.example.org"],
    ["http://[::1]:7443", "http://[::1]:7443"],
  ])("take %s for the control-plane", (text, controlPlaneUrl) => {
    const loaded = loadConfig(settings, { BERTH_CONTROL_PLANE_URL: text });
    expect(loaded).toMatchObject({ kind: "loaded", config: { controlPlaneUrl } });
  });

  it.each([
    ["BERTH_HOST", "0.0.0.0", "loopback"],
    ["BERTH_CLUSTER_ID", "a/b", "characters of"],
    ["BERTH_CONTROL_PLANE_URL", "localhost:7443", "expected a URL"],
    ["BERTH_CONTROL_PLANE_URL", "nonsense", "expected a URL"],
    ["BERTH_CONTROL_PLANE_URL", "http://10.0.0.1:7443", "not loopback"],
    ["BERTH_CONTROL_PLANE_URL", "http://127.0.0.1:7443/agents", 'without "/agents"'],
    ["BERTH_CONTROL_PLANE_URL", "https://10.0.0.1:7443/?fleet=1", 'without "/?fleet=1"'],
    ["BERTH_CONTROL_PLANE_URL", "https://10.0.0.1:7443/#fleet", 'without "/#fleet"'],
    ["BERTH_CONTROL_PLANE_URL", "https://me:secret@10.0.0.1:7443", "without a user name"],
    ["BERTH_NODE_HOST", "10.0.0.7:32001", "address of this machine"],
    ["BERTH_NODE_HOST", "http://x", "address of this machine"],
    ["BERTH_HTTP_PORT", "70000", "0 to 65535"],
  ])("refuse %s=%j and say what was expected", (env, text, expected) => {
    const loaded = loadConfig(settings, { [env]: text });
    expect(loaded.kind).toBe("invalid");
    if (loaded.kind === "invalid") {
      expect(loaded.problems).toHaveLength(1);
      expect(loaded.problems[0]).toContain(env);
      expect(loaded.problems[0]).toContain(expected);
    }
  });
});
