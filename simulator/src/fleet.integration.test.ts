import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Config, silentLogger, startAll, stopAll, systemClock } from "@berth/service-kit";
import { scrapeFaults } from "@berth/service-kit/testing";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { composeSimulator, type Simulator } from "./compose.ts";
import type { settings } from "./settings.ts";

const CONTROL_PLANE = path.resolve(import.meta.dirname, "../../control-plane/src/main.ts");
const TOKEN = `berth1.${"s".repeat(43)}`;
const WAIT = { timeout: 50_000, interval: 100 };
/** What a fault may take at most until it shows, beyond its own times. */
const SOON = { timeout: 5_000, interval: 50 };
const TTL_MS = 15_000;

let directory = "";
let controlPlane: ChildProcess;
let restUrl = "";
let controlPlaneUrl = "";
let simulator: Simulator;

/** Answers of the programs, as clients without types read them. */
async function json(url: string) {
  const response = await fetch(url);
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const agentUrl = (cluster: number) => simulator.clusters[cluster]?.httpUrl ?? "";
const gpuState = async (cluster: number, node: number, gpu: number) => {
  const { body } = await json(`${restUrl}/clusters/sim-${cluster}`);
  return body.nodes.nodeData[node].gpus.gpus[gpu].state;
};
const nodeStatus = async (cluster: number, node: number) => {
  const { body } = await json(`${agentUrl(cluster)}/nodes_status`);
  return body.nodes_status[node];
};

/** GPUs of a cluster's first node. */
const uuids = async (cluster: string): Promise<string[]> => {
  const { body } = await json(`${restUrl}/clusters/${cluster}`);
  const gpus: { uuid: string }[] = body.nodes.nodeData[0]?.gpus.gpus ?? [];
  return gpus.map(({ uuid }) => uuid);
};

function order(fault: string) {
  return simulator.http.inject({
    method: "POST",
    url: "/sim/faults",
    headers: { host: "127.0.0.1" },
    payload: { fault },
  });
}

/** A fleet of the control-plane; all fleets share one data directory. */
function compose(
  own: Pick<Config<typeof settings>, "name" | "fleet" | "seed" | "clusterPorts">,
): Promise<Simulator> {
  return composeSimulator({
    config: {
      dataDir: path.join(directory, "sim"),
      host: "127.0.0.1",
      port: 0,
      profile: "h100",
      load: "waves",
      intervalMs: 0,
      faults: [],
      controlPlaneUrl,
      enrolmentToken: TOKEN,
      caFile: "",
      sandboxDir: "",
      allowedHosts: [],
      allowedOrigins: [],
      ...own,
    },
    clock: systemClock,
    logger: silentLogger,
  });
}

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-sim-"));
  const [http = 0, ws = 0, agent = 0] = await freePorts(3);
  controlPlane = spawn(process.execPath, [CONTROL_PLANE], {
    env: {
      ...process.env,
      BERTH_SUPERVISED: "1",
      BERTH_DATA_DIR: path.join(directory, "control-plane"),
      BERTH_HTTP_PORT: String(http),
      BERTH_WS_PORT: String(ws),
      BERTH_AGENT_PORT: String(agent),
      BERTH_LOCAL_TOKEN: TOKEN,
      BERTH_LOG_LEVEL: "error",
    },
    stdio: ["pipe", "ignore", "inherit"],
  });
  restUrl = `http://127.0.0.1:${http}`;
  controlPlaneUrl = `http://127.0.0.1:${agent}`;
  simulator = await compose({ name: "sim", fleet: "2x2x4", seed: 5, clusterPorts: "open" });
  await startAll(simulator.parts, silentLogger);
  await vi.waitFor(async () => {
    const { body } = await json(`${restUrl}/clusters`);
    const live = body.filter((cluster: { status: string }) => cluster.status === "live");
    expect(live.map(({ id }: { id: string }) => id)).toEqual(["sim-0", "sim-1"]);
  }, WAIT);
});

afterAll(async () => {
  await stopAll(simulator?.parts ?? [], silentLogger);
  controlPlane.kill("SIGTERM");
  if (controlPlane.exitCode === null) await once(controlPlane, "exit");
  rmSync(directory, { recursive: true, force: true });
});

it("shows live clusters that are marked simulated, with all nodes and GPUs", async () => {
  const { body } = await json(`${restUrl}/clusters/sim-1`);
  expect(body).toMatchObject({
    tags: ["simulated"],
    clusterMetadata: { simulated: true },
    nodes: { count: 2 },
    gpus: { count: 8 },
  });
  await vi.waitFor(async () => {
    const metrics = await json(`${restUrl}/cluster/sim-1`);
    const nodes: { status: string; quality: string }[] = metrics.body.data.nodes;
    expect(nodes.map(({ quality }) => quality)).toEqual(["simulated", "simulated"]);
  }, WAIT);
});

it("tells Prometheus of a cluster, and nothing of a process that it shares with others", async () => {
  const text = await (await fetch(`${agentUrl(1)}/metrics`)).text();
  expect(scrapeFaults(text)).toEqual([]);
  expect(text).toContain('berth_node_up{cluster="sim-1",node="sim-1-node-0"} 1\n');
  expect(text).not.toContain("process_");
});

it("shows a failed GPU at its cluster-agent and in the cluster document, and when it is back", async () => {
  const answer = await order("gpu-fail sim-0/node-1/3 3s");
  expect(answer.statusCode).toBe(201);
  expect(answer.json().data).toMatchObject({ target: "sim-0/node-1/3", state: "holds" });
  await vi.waitFor(async () => {
    // A lost GPU keeps its slot, without values.
    const { gpus } = await nodeStatus(0, 1);
    expect(
      gpus.map(({ utilization }: { utilization: number | null }) => utilization === null),
    ).toEqual([false, false, false, true]);
    expect(await gpuState(0, 1, 3)).toBe("unhealthy");
  }, SOON);
  expect(await gpuState(0, 0, 3)).toBe("free");
  await vi.waitFor(async () => expect(await gpuState(0, 1, 3)).toBe("free"), WAIT);
});

it("loses the telemetry of a node that is cut off after its TTL, and hears it again after", async () => {
  await order("node-partition sim-0/node-0 18s");
  expect((await nodeStatus(0, 0)).status).toBe("healthy");
  await vi.waitFor(async () => expect((await nodeStatus(0, 0)).status).toBe("unhealthy"), {
    timeout: TTL_MS + SOON.timeout,
    interval: 100,
  });
  expect((await nodeStatus(0, 1)).status).toBe("healthy");
  expect(await gpuState(0, 1, 0)).toBe("free");
  await vi.waitFor(async () => expect((await nodeStatus(0, 0)).status).toBe("healthy"), WAIT);
});

it("keeps a GPU that has fallen off its bus (XID 79) lost until the node boots, whatever else ends", async () => {
  await order("gpu-xid sim-0/node-1/2 79");
  await vi.waitFor(async () => {
    const { gpus } = await nodeStatus(0, 1);
    expect(gpus[2]).toMatchObject({ state: "unhealthy", utilization: null, health: "hardware" });
    expect(gpus[2].reason).toBe("XID 79: GPU has fallen off the bus");
  }, SOON);
  await order("gpu-fail sim-0/node-1/2 500ms");
  await vi.waitFor(async () => {
    const { body } = simulatorStatus(await simulator.http.inject({ url: "/sim", headers: HOST }));
    expect(body.faults).toEqual([]);
  }, SOON);
  expect((await nodeStatus(0, 1)).gpus[2]).toMatchObject({ state: "unhealthy", utilization: null });
  await order("node-reboot sim-0/node-1 1s");
  await vi.waitFor(async () => {
    const [gpu] = (await nodeStatus(0, 1)).gpus.slice(2);
    expect(gpu).toMatchObject({ state: "free", utilization: expect.any(Number) });
    expect(gpu).not.toHaveProperty("health");
  }, WAIT);
});

it("boots a node anew with another boot id, and its GPUs are whole again", async () => {
  await order("gpu-fail sim-1/node-0/1");
  await vi.waitFor(async () => expect(await gpuState(1, 0, 1)).toBe("unhealthy"), SOON);
  await order("node-reboot sim-1/node-0 1s");
  await vi.waitFor(async () => {
    const { body } = await json(`${restUrl}/events?cluster_id=sim-1&kind=node_rebooted`);
    expect(body.data).toHaveLength(1);
    expect(await gpuState(1, 0, 1)).toBe("free");
  }, WAIT);
});

it("lets nothing happen to a node that is off, and says so", async () => {
  await order("node-reboot sim-1/node-1 2s");
  for (const fault of [
    "gpu-fail sim-1/node-1/2",
    "gpu-xid sim-1/node-1/0 48",
    "smi-hang sim-1/node-1 60s",
    "node-reboot sim-1/node-1",
  ]) {
    const refused = await order(fault);
    expect(refused.statusCode).toBe(400);
    const [kind, target] = fault.split(" ");
    expect(refused.json()).toMatchObject({
      reason: "PRECONDITION_FAILED",
      message: `${kind} ${target}: the node is switched off`,
    });
  }
  // One that was asked for before and comes due now is left out.
  expect((await order("200ms smi-hang sim-1/node-1 60s")).statusCode).toBe(201);
  const standing = async () => {
    const { body } = simulatorStatus(await simulator.http.inject({ url: "/sim", headers: HOST }));
    return body.faults;
  };
  await vi.waitFor(
    async () => expect(await standing()).toMatchObject([{ kind: "node-reboot" }]),
    SOON,
  );
  await vi.waitFor(async () => {
    expect(await standing()).toEqual([]);
    const { gpus } = await nodeStatus(1, 1);
    expect(gpus.map(({ state }: { state: string }) => state)).toEqual(Array(4).fill("free"));
  }, WAIT);
});

it("loses a cluster whose link is cut, keeps its agent running, and links it again", async () => {
  await order("link-cut sim-1 4s");
  const { body } = simulatorStatus(await simulator.http.inject({ url: "/sim", headers: HOST }));
  expect(body.faults).toMatchObject([{ kind: "link-cut", target: "sim-1" }]);
  await vi.waitFor(() => expect(simulator.clusters[1]?.isLinked).toBe(false), SOON);
  expect((await nodeStatus(1, 0)).status).toBe("healthy");
  await vi.waitFor(() => expect(simulator.clusters[1]?.isLinked).toBe(true), WAIT);
  // It knows that it is linked before the control-plane has taken all of it in.
  await vi.waitFor(async () => {
    const document = await json(`${restUrl}/clusters/sim-1`);
    expect(document.body.status).toBe("live");
  }, SOON);
});

it("lets another fleet of another name run beside it, with other machines under its ids", async () => {
  const other = await compose({ name: "lab", fleet: "1x1x4", seed: 5, clusterPorts: "closed" });
  try {
    await startAll(other.parts, silentLogger);
    await vi.waitFor(async () => {
      const { body } = await json(`${restUrl}/clusters`);
      const live = body.filter((cluster: { status: string }) => cluster.status === "live");
      const ids = live.map(({ id }: { id: string }) => id).toSorted();
      expect(ids).toEqual(["lab-0", "sim-0", "sim-1"]);
    }, WAIT);
    // A cluster is live before it has told of its nodes.
    await vi.waitFor(async () => {
      const [own, others] = [await uuids("sim-0"), await uuids("lab-0")];
      expect([own.length, others.length]).toEqual([4, 4]);
      expect(new Set([...own, ...others]).size).toBe(8);
    }, WAIT);
    const fault = { payload: { fault: "gpu-fail sim-0" }, headers: HOST };
    const refused = await other.http.inject({ method: "POST", url: "/sim/faults", ...fault });
    expect(refused.json().message).toContain("it has lab-0 to lab-0");
  } finally {
    await stopAll(other.parts, silentLogger);
  }
});

it("keeps no file for a node", () => {
  const entries = readdirSync(path.join(directory, "sim"), { recursive: true }).map(String);
  expect(entries).toContain("sim.json");
  expect(entries.filter((entry) => entry.includes("node-"))).toEqual([]);
});

it("changes its load while it runs, of one cluster or of all", async () => {
  const change = (payload: object) =>
    simulator.http.inject({ method: "POST", url: "/sim/load", headers: HOST, payload });
  const utilizations = async (cluster: number): Promise<readonly number[]> => {
    const { gpus } = await nodeStatus(cluster, 0);
    return gpus.map(({ utilization }: { utilization: number }) => utilization);
  };
  const changed = await change({ load: "busy", cluster: "sim-0" });
  expect(changed.json()).toEqual({ success: true, data: { load: "busy", clusters: ["sim-0"] } });
  const expectLoad = (cluster: number, [least, most]: readonly [number, number]) =>
    vi.waitFor(async () => {
      const all = await utilizations(cluster);
      expect(all).toHaveLength(4);
      expect([Math.min(...all) >= least, Math.max(...all) <= most], all.join()).toEqual([
        true,
        true,
      ]);
    }, WAIT);
  await expectLoad(0, [90, 100]);
  const { body } = simulatorStatus(await simulator.http.inject({ url: "/sim", headers: HOST }));
  expect(body).toMatchObject({ cluster_list: [{ load: "busy" }, { load: "waves" }] });
  await change({ load: "idle" });
  await expectLoad(0, [0, 20]);
  await expectLoad(1, [0, 20]);
  expect((await change({ load: "busy", cluster: "sim-9" })).statusCode).toBe(404);
  expect((await change({ load: "full" })).statusCode).toBe(400);
});

it("refuses faults that the fleet cannot have, foreign hosts and bodies", async () => {
  const bad = await order("gpu-fail sim-9");
  expect(bad.statusCode).toBe(400);
  expect(bad.json().message).toContain("no cluster sim-9");
  expect((await order("meteor")).statusCode).toBe(400);
  const foreign = await simulator.http.inject({ url: "/sim", headers: { host: "evil.example" } });
  expect(foreign.statusCode).toBe(403);
});

const HOST = { host: "127.0.0.1" };

function simulatorStatus(answer: { json(): { data: { faults: unknown[] } } }) {
  return { body: answer.json().data };
}
