import { loadConfig } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { settings } from "./settings.ts";

const tokens = { BERTH_NODE_TOKEN: "n", BERTH_LINK_TOKEN: "l" };

describe("settings", () => {
  it("need only the two tokens", () => {
    const loaded = loadConfig(settings, tokens);
    if (loaded.kind === "invalid") throw new Error(loaded.problems.join());
    expect(loaded.config).toMatchObject({
      httpPort: 32_000,
      nodePort: 32_001,
      host: "127.0.0.1",
      clusterId: "local",
      nodeTtlMs: 15_000,
    });
  });

  it.each([
    ["BERTH_HOST", "0.0.0.0", "loopback"],
    ["BERTH_CLUSTER_ID", "a/b", "characters of"],
    ["BERTH_CONTROL_PLANE_URL", "localhost:7443", "expected a URL"],
    ["BERTH_CONTROL_PLANE_URL", "nonsense", "expected a URL"],
    ["BERTH_NODE_TOKEN", "", "BERTH_NODE_TOKEN"],
    ["BERTH_LINK_TOKEN", "", "BERTH_LINK_TOKEN"],
    ["BERTH_HTTP_PORT", "70000", "0 to 65535"],
  ])("refuse %s=%j and say what was expected", (env, text, expected) => {
    const loaded = loadConfig(settings, { ...tokens, [env]: text });
    expect(loaded.kind).toBe("invalid");
    if (loaded.kind === "invalid") {
      expect(loaded.problems).toHaveLength(1);
      expect(loaded.problems[0]).toContain(env);
      expect(loaded.problems[0]).toContain(expected);
    }
  });
});
