import { describe, expect, it } from "vitest";
import { PROGRAM_NAMES, portUrl, programEnvironment } from "./environment.ts";
import { upSettings } from "./options.ts";

const settings = upSettings({ dataDir: "/d" }, {}, "/");
const tokens = { link: "L", node: "N" };

describe("programEnvironment", () => {
  it("passes on only PATH, HOME, LANG, TZ, BERTH_* and FAKE_SMI_*", () => {
    const callerEnv = {
      PATH: "/bin",
      TZ: "UTC",
      AWS_SECRET: "x",
      NODE_OPTIONS: "--inspect",
      BERTH_NVIDIA_SMI: "smi",
      FAKE_SMI_PROFILE: "t4",
      BERTH_LAUNCHER_PID: "1",
      BERTH_NODE_TOKEN: "theirs",
    };
    expect(programEnvironment("node-agent", { settings, tokens, callerEnv })).toEqual({
      PATH: "/bin",
      TZ: "UTC",
      BERTH_NVIDIA_SMI: "smi",
      FAKE_SMI_PROFILE: "t4",
      NODE_COMPILE_CACHE: "/d/compile-cache",
      BERTH_SUPERVISED: "1",
      BERTH_DATA_DIR: "/d/node-agent",
      BERTH_HOST: "127.0.0.1",
      BERTH_CLUSTER_AGENT_URL: "http://127.0.0.1:32001",
      BERTH_NODE_TOKEN: "N",
    });
  });

  it("gives each program the tokens of its own links only", () => {
    const callerEnv = { BERTH_LINK_TOKEN: "theirs", BERTH_NODE_TOKEN: "theirs" };
    const tokensOf = PROGRAM_NAMES.map((name) => {
      const env = programEnvironment(name, { settings, tokens, callerEnv });
      return [env.BERTH_LINK_TOKEN, env.BERTH_NODE_TOKEN];
    });
    expect(tokensOf).toEqual([
      ["L", undefined],
      ["L", "N"],
      [undefined, "N"],
    ]);
  });
});

describe("portUrl", () => {
  it("puts brackets around IPv6 addresses", () => {
    expect(portUrl("::1", 80)).toBe("http://[::1]:80");
    expect(portUrl("localhost", 81, "ws")).toBe("ws://localhost:81");
  });
});
