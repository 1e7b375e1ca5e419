import { describe, expect, it } from "vitest";
import { simSettings } from "../sim/sim-options.ts";
import { PROGRAM_NAMES, portUrl, programEnvironment } from "./environment.ts";
import { upSettings } from "./options.ts";

const settings = upSettings({ dataDir: "/d" }, {}, "/");
const FLEET = simSettings("1x1x1", {}, { env: {}, cwd: "/" });
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
      BERTH_ENROLMENT_TOKEN: "theirs",
      BERTH_CA_FILE: "theirs",
    };
    expect(programEnvironment("node-agent", { settings, tokens, callerEnv })).toEqual({
      PATH: "/bin",
      TZ: "UTC",
      BERTH_NVIDIA_SMI: "smi",
      FAKE_SMI_PROFILE: "t4",
      MALLOC_TRIM_THRESHOLD_: "65536",
      NODE_COMPILE_CACHE: "/d/compile-cache",
      BERTH_SUPERVISED: "1",
      BERTH_DATA_DIR: "/d/node-agent",
      BERTH_HOST: "127.0.0.1",
      BERTH_CLUSTER_AGENT_URL: "http://127.0.0.1:32001",
      BERTH_ENROLMENT_TOKEN: "berth1.N",
    });
  });

  it("gives each program the enrolment tokens of its own links only", () => {
    const callerEnv = { BERTH_LOCAL_TOKEN: "theirs", BERTH_ENROLMENT_TOKEN: "theirs" };
    const tokensOf = PROGRAM_NAMES.map((name) => {
      const env = programEnvironment(name, { settings, tokens, callerEnv });
      return [env.BERTH_LOCAL_TOKEN, env.BERTH_ENROLMENT_TOKEN];
    });
    expect(tokensOf).toEqual([
      ["berth1.L", undefined],
      ["berth1.N", "berth1.L"],
      [undefined, "berth1.N"],
    ]);
  });

  it("lets a simulated fleet share the policy workers' image with its own control-plane, and no other", () => {
    const env = (joins?: { agentUrl: string; token: string }) => {
      const sim = { ...FLEET, ...(joins === undefined ? {} : { joins }) };
      const given = { settings: { ...settings, sim }, tokens, callerEnv: {} };
      return programEnvironment("simulator", given).BERTH_SANDBOX_DIR;
    };
    expect(env()).toBe("/d/control-plane/sandbox");
    expect(env({ agentUrl: "http://127.0.0.1:7443", token: "berth1.x" })).toBeUndefined();
  });

  it.each([
    ["0.0.0.0", "https://127.0.0.1:7443"],
    ["::", "https://[::1]:7443"],
    ["10.0.0.5", "https://10.0.0.5:7443"],
    ["berth.example.org", "https://berth.example.org:7443"],
  ])("dials an agent port on %s over TLS as %s, with the server's own CA", (agentHost, url) => {
    const open = upSettings({ dataDir: "/d", agentHost }, {}, "/");
    const [controlPlane, clusterAgent, nodeAgent] = PROGRAM_NAMES.map((name) =>
      programEnvironment(name, { settings: open, tokens, callerEnv: {} }),
    );
    expect(controlPlane).toMatchObject({ BERTH_HOST: "127.0.0.1", BERTH_AGENT_HOST: agentHost });
    expect(clusterAgent).toMatchObject({
      BERTH_CONTROL_PLANE_URL: url,
      BERTH_CA_FILE: "/d/control-plane/ca.pem",
    });
    expect(clusterAgent).not.toHaveProperty("BERTH_NODE_HOST");
    expect(nodeAgent).not.toHaveProperty("BERTH_CA_FILE");
  });

  it("dials an open node port over TLS", () => {
    const open = upSettings({ dataDir: "/d" }, { BERTH_NODE_HOST: "0.0.0.0" }, "/");
    const sources = { settings: open, tokens, callerEnv: { BERTH_NODE_HOST: "0.0.0.0" } };
    expect(programEnvironment("cluster-agent", sources)).toMatchObject({
      BERTH_NODE_HOST: "0.0.0.0",
      BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:7443",
    });
    expect(programEnvironment("node-agent", sources)).toMatchObject({
      BERTH_CLUSTER_AGENT_URL: "https://127.0.0.1:32001",
      BERTH_CA_FILE: "/d/cluster-agent/ca.pem",
    });
    expect(programEnvironment("control-plane", sources)).not.toHaveProperty("BERTH_NODE_HOST");
  });

  it("tells only the control-plane whether alias ports are closed", () => {
    const closed = upSettings({ dataDir: "/d", aliasPorts: false }, {}, "/");
    const choices = PROGRAM_NAMES.map((name) => {
      return programEnvironment(name, { settings: closed, tokens, callerEnv: {} })
        .BERTH_ALIAS_PORTS;
    });
    expect(choices).toEqual(["off", undefined, undefined]);
    const sources = { settings, tokens, callerEnv: {} };
    expect(programEnvironment("control-plane", sources)).not.toHaveProperty("BERTH_ALIAS_PORTS");
  });

  it.each([
    ["nothing, so that it takes its own, on the default ports", {}, {}, undefined],
    ["0, for none, in a fleet with an HTTP port of its own", { httpPort: "8100" }, {}, "0"],
    ["what the caller says", { httpPort: "8100" }, { BERTH_METRICS_PORT: "9501" }, "9501"],
    ["0 where the caller says nothing", { httpPort: "8100" }, { BERTH_METRICS_PORT: "" }, "0"],
  ])("gives the node-agent as its metrics port %s", (_what, options, callerEnv, expected) => {
    const chosen = upSettings({ dataDir: "/d", ...options }, callerEnv, "/");
    const ofPrograms = PROGRAM_NAMES.map((name) => {
      return programEnvironment(name, { settings: chosen, tokens, callerEnv });
    });
    expect(ofPrograms[2]?.BERTH_METRICS_PORT).toBe(expected);
  });

  it("stays without TLS on another loopback address", () => {
    const sources = {
      settings: upSettings({ dataDir: "/d", agentHost: "127.0.0.2" }, {}, "/"),
      tokens,
      callerEnv: {},
    };
    const env = programEnvironment("cluster-agent", sources);
    expect(env.BERTH_CONTROL_PLANE_URL).toBe("http://127.0.0.2:7443");
    expect(env).not.toHaveProperty("BERTH_CA_FILE");
  });
});

describe("portUrl", () => {
  it("puts brackets around IPv6 addresses", () => {
    expect(portUrl("::1", 80)).toBe("http://[::1]:80");
    expect(portUrl("localhost", 81, "ws")).toBe("ws://localhost:81");
  });
});
