import { describe, expect, it } from "vitest";
import { upSettings } from "./options.ts";

describe("upSettings", () => {
  it("has the documented defaults", () => {
    expect(upSettings({}, {}, "/home/u")).toEqual({
      dataDir: "/home/u/.berth",
      host: "127.0.0.1",
      httpPort: 8000,
      wsPort: 8765,
      agentPort: 7443,
      clusterPort: 32_000,
      nodePort: 32_001,
      clusterId: "local",
      verbose: false,
    });
  });

  it("takes the option before the variable, and the variable before the default", () => {
    const env = {
      BERTH_HTTP_PORT: "9000",
      BERTH_WS_PORT: "9001",
      BERTH_NODE_ID: "n",
      BERTH_HOST: "",
    };
    const settings = upSettings({ httpPort: "9100", dataDir: "d" }, env, "/w");
    expect(settings).toMatchObject({
      httpPort: 9100,
      wsPort: 9001,
      nodeId: "n",
      host: "127.0.0.1",
      dataDir: "/w/d",
    });
  });

  it.each(["0", "65536", "-1", "80a", "", "1e3"])("refuses the port %j", (httpPort) => {
    expect(() => upSettings({ httpPort }, {}, "/")).toThrow(
      `--http-port ${JSON.stringify(httpPort)}: expected a port from 1 to 65535`,
    );
  });

  it("refuses the same port for two things, naming both", () => {
    expect(() => upSettings({ wsPort: "8000" }, {}, "/")).toThrow(
      "--http-port and --ws-port are both 8000: expected different ports",
    );
  });

  it.each([
    ["as the control-plane chooses", {}, {}, undefined],
    ["as it chooses when the flag is not given", { aliasPorts: true }, {}, undefined],
    ["off when they are not wanted", { aliasPorts: false }, {}, "off"],
    ["off when a program is to have one of them", { clusterPort: "8888" }, {}, "off"],
    [
      "off when one was moved to a program's port",
      {},
      { BERTH_CLUSTERS_ALIAS_PORT: "32001" },
      "off",
    ],
    [
      "as it chooses when the clash was moved away",
      { clusterPort: "8888" },
      { BERTH_METRICS_ALIAS_PORT: "9999" },
      undefined,
    ],
  ])("has alias ports %s", (_when, options, env, expected) => {
    expect(upSettings(options, env, "/").aliasPorts).toBe(expected);
  });
});
