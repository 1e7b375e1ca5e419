import { describe, expect, it } from "vitest";
import { programsOf } from "../up/environment.ts";
import { simDataDir, simSettings } from "./sim-options.ts";
import { readSimFleet, waitingFor } from "./sim-readiness.ts";
import { fleetText } from "./sim-summary.ts";

const from = { env: {}, cwd: "/w" };
const answer = {
  data: {
    ...{ clusters: 3, clusters_linked: 1, nodes: 12, nodes_registered: 9, gpus: 96 },
    ...{ gpu_interval_ms: 1_000, name: "sim" },
    cluster_list: [
      { id: "sim-0", http_url: "http://127.0.0.1:1", linked: true },
      { id: "sim-1", http_url: null, linked: false },
      { id: "sim-2", http_url: "http://127.0.0.1:2", linked: false },
    ],
  },
};

describe("simSettings", () => {
  it("passes on what was chosen and leaves the rest to the simulator", () => {
    expect(simSettings("3x4x8", {}, from)).toEqual({
      ...{ name: "sim", fleet: "3x4x8", clusters: 3, port: 31_990 },
      variables: { BERTH_SIM_NAME: "sim", BERTH_SIM_FLEET: "3x4x8", BERTH_SIM_PORT: "31990" },
    });
    const fault = ["30s gpu-fail sim-0/node-1/3", "node-reboot"];
    const chosen = { interval: "2s", clusterPorts: false, fault, load: "busy" };
    expect(simSettings("1x1x1", chosen, from).variables).toMatchObject({
      BERTH_SIM_INTERVAL_MS: "2000",
      BERTH_SIM_CLUSTER_PORTS: "closed",
      BERTH_SIM_FAULTS: "30s gpu-fail sim-0/node-1/3; node-reboot",
      BERTH_SIM_LOAD: "busy",
    });
  });

  it.each(["", "3", "3x4", "0x1x1", "axbxc"])("refuses the fleet %j", (fleet) => {
    expect(() => simSettings(fleet, {}, from)).toThrow("such as 3x4x8");
  });

  it("names the fleet by the flag, else by the variable, and its directory by the name", () => {
    const env = { BERTH_SIM_NAME: "west" };
    const named = simSettings("1x1x1", {}, { ...from, env });
    expect(named).toMatchObject({ name: "west", variables: { BERTH_SIM_NAME: "west" } });
    expect(simSettings("1x1x1", { name: "east" }, { ...from, env }).name).toBe("east");
    expect(simDataDir(".berth/sim", named)).toBe(".berth/sim_west");
    expect(simDataDir(".berth/sim", { name: "sim" })).toBe(".berth/sim");
  });

  it.each(["", "East", "1st", "a/b", "a-", "x".repeat(31)])("refuses the name %j", (name) => {
    expect(() => simSettings("1x1x1", { name }, from)).toThrow(
      `--name ${JSON.stringify(name)}: expected 1 to 30 of a-z`,
    );
  });

  it("names the option that is wrong, and the script that is missing", () => {
    expect(() => simSettings("1x1x1", { interval: "soon" }, from)).toThrow("--interval");
    expect(() => simSettings("1x1x1", { interval: "" }, from)).toThrow("--interval");
    expect(() => simSettings("1x1x1", { simPort: "0" }, from)).toThrow("--sim-port");
    expect(() => simSettings("1x1x1", { faultScript: "none" }, from)).toThrow(
      "--fault-script none",
    );
  });
});

it("runs the simulator in place of the agents, alone where a control-plane runs already", () => {
  const sim = simSettings("1x1x1", {}, from);
  expect(programsOf({ sim })).toEqual(["control-plane", "simulator"]);
  const joins = { agentUrl: "http://127.0.0.1:7443", token: "t" };
  expect(programsOf({ sim: { ...sim, joins } })).toEqual(["simulator"]);
  expect(programsOf({})).toEqual(["control-plane", "cluster-agent", "node-agent"]);
});

it("says what a fleet has and what it waits for", () => {
  const fleet = readSimFleet(answer);
  if (fleet === undefined) throw new Error("the answer was not read");
  expect(fleet).toMatchObject({
    name: "sim",
    unlinked: { id: "sim-2", url: "http://127.0.0.1:2" },
  });
  expect(fleetText(fleet)).toBe("3 simulated clusters, 12 nodes, 96 GPUs");
  expect(waitingFor(fleet, [])).toContain("9 of 12 nodes run, 1 of 3 clusters are linked");
  expect(waitingFor("ECONNREFUSED", ["simulator"])).toBe("simulator to start");
  expect(readSimFleet({ data: {} })).toBeUndefined();
});
