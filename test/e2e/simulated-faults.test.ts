import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { berth, type Fleet, freePorts, launchFleet, until } from "../support/fleet.ts";

/** On top of what a fault takes by its own times: two links, and a command that starts. */
const SLACK_MS = 8_000;
const TTL_MS = 15_000;
const HANG_MS = 3 * 1_000 + 5_000;
const HALF_OPEN_MS = 10_000;

type Row = Readonly<Record<string, unknown>>;

interface SimOverview {
  readonly data: { readonly cluster_list: readonly { readonly http_url: string }[] };
}

let fleet: Fleet;
let simServer: string;
let agentUrls: readonly string[];

beforeAll(async () => {
  const ports = await freePorts();
  simServer = `http://127.0.0.1:${ports.cluster}`;
  fleet = await launchFleet({
    ports,
    args: ["--sim", "2x2x2", "--sim-port", String(ports.cluster)],
  });
  await until(() => fleet.output().includes("Ctrl-C stops the fleet"), {
    limitMs: 80_000,
    what: () => `the simulated fleet to be ready; so far:\n${fleet.output()}`,
  });
  const overview = (await json(`${simServer}/sim`)) as SimOverview;
  agentUrls = overview.data.cluster_list.map((cluster) => cluster.http_url);
  await until(async () => (await gpus("sim-1", 1)).every((gpu) => gpu.state === "free"), {
    what: () => "the GPUs to be free",
  });
});

afterAll(() => fleet.stop());

async function json(url: string): Promise<unknown> {
  return JSON.parse(await (await fetch(url)).text());
}

async function strike(fault: string): Promise<void> {
  const { code, stderr } = await berth(fleet, "sim", "fault", fault, "--sim-server", simServer);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
}

/** The GPUs of a node as `berth get gpus` prints them. */
async function gpus(cluster: string, node: number): Promise<readonly Row[]> {
  const where = ["--cluster", cluster, "--node", `${cluster}-node-${node}`];
  const { stdout } = await berth(fleet, "get", "gpus", ...where, "-o", "json");
  return JSON.parse(stdout);
}

/** A node as its cluster-agent's `/nodes_status` lists it. */
async function status(cluster: number, node: number): Promise<Row & { gpus: readonly Row[] }> {
  const answer = await json(`${agentUrls[cluster]}/nodes_status`);
  const { nodes_status } = answer as { nodes_status: (Row & { gpus: readonly Row[] })[] };
  const found = nodes_status[node];
  if (found === undefined) throw new Error(`no node ${node} in ${JSON.stringify(answer)}`);
  return found;
}

/** Waits until a node has what is expected, at its agent and at the command line. */
async function seen(
  [cluster, node]: readonly [cluster: number, node: number],
  within: number,
  expected: { readonly status: object; readonly gpus: object },
): Promise<void> {
  let last: unknown;
  const holds = async () => {
    last = [await status(cluster, node), await gpus(`sim-${cluster}`, node)];
    try {
      expect(last).toMatchObject([expected.status, expected.gpus]);
      return true;
    } catch {
      return false;
    }
  };
  await until(holds, {
    limitMs: within + SLACK_MS,
    what: () => `${JSON.stringify(expected)}; so far:\n${JSON.stringify(last)}`,
  });
}

const both = (gpu: object) => [gpu, gpu];

describe("a fault of a simulated fleet is seen in /nodes_status and by berth get gpus in its time:", () => {
  it("a GPU that falls off its bus, at once", async () => {
    await strike("gpu-fail sim-0/node-0/1");
    const reason = "XID 79: GPU has fallen off the bus";
    const lost = { state: "unhealthy", health: "hardware", reason, utilization: null };
    const pair = [{ state: "free" }, lost];
    await seen([0, 0], 0, { status: { status: "healthy", gpus: pair }, gpus: pair });
  });

  it("a hung nvidia-smi, after three intervals and 5 s", async () => {
    await strike("smi-hang sim-0/node-1 25s");
    const hung = both({ state: "unhealthy", health: "reset", reason: "nvidia-smi hangs" });
    await seen([0, 1], HANG_MS, { status: { status: "healthy", gpus: hung }, gpus: hung });
  });

  it("a node that is cut off, after the TTL of its silence", async () => {
    await strike("node-partition sim-1/node-0 30s");
    const lost = both({ state: "unhealthy", reason: expect.stringMatching(/^telemetry lost/) });
    const expected = { status: "unhealthy", reason: expect.stringMatching(/silent for \d+ s$/) };
    await seen([1, 0], TTL_MS, { status: { ...expected, gpus: lost }, gpus: lost });
    const [gpu] = await gpus("sim-1", 1);
    expect(gpu).toMatchObject({ state: "free" });
  });

  it("a node that reboots, as silent, then with another boot id and whole GPUs", async () => {
    await strike("node-reboot sim-0/node-0 25s");
    const lost = both({ state: "unhealthy" });
    await seen([0, 0], TTL_MS, { status: { status: "unhealthy", gpus: lost }, gpus: lost });
    const whole = both({ state: "free", reason: null });
    const status = { status: "healthy", gpus: both({ state: "free" }) };
    await seen([0, 0], 25_000 - TTL_MS, { status, gpus: whole });
    const events = `http://127.0.0.1:${fleet.ports.http}/events?cluster_id=sim-0&kind=node_rebooted`;
    const told = async () => JSON.stringify(await json(events));
    await until(async () => (await told()).includes('"node/sim-0-node-0"'), {
      what: () => "the reboot to be told as an event",
    });
  });

  it("a cluster whose link is cut, as unreachable, while its agent goes on", async () => {
    await seen([1, 0], 30_000, {
      status: { status: "healthy" },
      gpus: both({ state: "free" }),
    });
    await strike("link-cut sim-1 30s");
    const unreachable = { state: "unhealthy", reason: expect.stringMatching(/unreachable/) };
    await seen([1, 0], HALF_OPEN_MS, {
      status: { status: "healthy", gpus: both({ state: "free" }) },
      gpus: both({ ...unreachable, quality: "stale" }),
    });
    const back = { status: { status: "healthy" }, gpus: both({ state: "free" }) };
    await seen([1, 0], 45_000, back);
  });
});
