import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import {
  berth,
  type Fleet,
  type FleetPorts,
  freePorts,
  launchFleet,
  startFleet,
  until,
} from "../support/fleet.ts";

const POLICY = "least-loaded:1.0.0-stable";
const PROGRAMS = ["control-plane", "cluster-agent", "node-agent"] as const;

let fleet: Fleet | undefined;

afterEach(async () => {
  await fleet?.stop();
  fleet = undefined;
});

async function publish(on: Fleet): Promise<void> {
  const published = await berth(on, "policy", "publish", "examples/policies/least-loaded");
  expect(published).toMatchObject({ code: 0 });
}

/** Whether the fleet places work again, with the policy that was published before the fault. */
async function places(on: Fleet): Promise<boolean> {
  const { code, stdout } = await berth(on, "allocate", "--policy", POLICY, "-o", "json");
  return code === 0 && JSON.parse(stdout).cluster_id === "local";
}

async function expectNothingLeft(of: Fleet): Promise<void> {
  await until(() => of.pids().length === 0, { what: () => `processes ${of.pids()} to end` });
}

describe("kill -9", () => {
  it.each(PROGRAMS)("of the %s is survived and loses nothing", async (program) => {
    fleet = await startFleet();
    const running = fleet;
    await publish(running);
    const before = running.pidOf(program);
    process.kill(before, "SIGKILL");
    await until(() => !running.isRunning(before) && PROGRAMS.every((name) => running.has(name)), {
      what: () => `${program} to be restarted:\n${running.output()}`,
    });
    await until(() => places(running), {
      limitMs: 30_000,
      what: () => `the fleet to place work again:\n${running.output()}`,
    });
    expect(running.output()).toMatch(new RegExp(`${program}.*(exited|ended).*SIGKILL`));
  });

  it("of the supervisor leaves no process behind, also none that runs a policy", async () => {
    fleet = await startFleet();
    await publish(fleet);
    await expect(places(fleet)).resolves.toBe(true);
    const spin =
      "class AIOSv1PolicyRule:\n    def __init__(self, *a): pass\n    def eval(self, p, i, c):\n        while True:\n            try:\n                while True: pass\n            except BaseException: pass\n";
    const rest = `http://127.0.0.1:${fleet.ports.http}`;
    const send = (route: string, body: object) =>
      fetch(rest + route, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    const policy = { name: "spin", version: "1", release_tag: "t", code: spin };
    expect((await send("/policy", policy)).status).toBe(200);
    const spinning = send("/allocate", { policy_rule_uri: "spin:1-t", inputs: {} }).catch(
      () => null,
    );
    fleet.process.kill("SIGKILL");
    await spinning;
    await expectNothingLeft(fleet);
  });

  it("of everything at once keeps what was acknowledged for the next start", async () => {
    fleet = await startFleet();
    await publish(fleet);
    for (const pid of [fleet.process.pid ?? 0, ...fleet.pids()]) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended together with its parent.
      }
    }
    await expectNothingLeft(fleet);
    const { dataDir, ports } = fleet;
    fleet = await startFleet({ dataDir, ports });
    await expect(places(fleet)).resolves.toBe(true);
  });
});

describe("stopping", () => {
  it("SIGTERM to npm without a terminal stops everything", async () => {
    fleet = await startFleet({ npm: true });
    fleet.process.kill("SIGTERM");
    await fleet.exited();
    await expectNothingLeft(fleet);
  });

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s, sent twice, ends with code 0",
    async (signal) => {
      fleet = await startFleet();
      fleet.process.kill(signal);
      fleet.process.kill(signal);
      await expect(fleet.exited()).resolves.toBe(0);
      await expectNothingLeft(fleet);
    },
  );
});

describe("start-up errors", () => {
  it.each<[keyof FleetPorts, string]>([
    ["http", "--http-port (BERTH_HTTP_PORT)"],
    ["ws", "--ws-port (BERTH_WS_PORT)"],
    ["agent", "--agent-port (BERTH_AGENT_PORT)"],
    ["cluster", "--cluster-port (BERTH_CLUSTER_PORT)"],
    ["node", "--node-port (BERTH_NODE_PORT)"],
  ])("a taken %s port is named with the flag that moves it, exit code 1", async (port, setting) => {
    const ports = await freePorts();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(ports[port], "127.0.0.1", resolve));
    fleet = await launchFleet({ ports });
    await expect(fleet.exited()).resolves.toBe(1);
    expect(fleet.output()).toContain(
      `port ${ports[port]} on 127.0.0.1 is taken by another program; set ${setting} to another port\n`,
    );
    await expectNothingLeft(fleet);
    squatter.close();
  });

  it("a data directory that another fleet uses is refused", async () => {
    fleet = await startFleet();
    const second = await launchFleet({ dataDir: fleet.dataDir, ports: await freePorts() });
    await expect(second.exited()).resolves.toBe(1);
    expect(second.output()).toContain(fleet.dataDir);
    await expect(fetch(`http://127.0.0.1:${fleet.ports.http}/healthz`)).resolves.toBeDefined();
  });

  it.each(["/dev/null/berth", "/proc/berth"])(
    "a data directory that cannot be made (%s) is named, exit code 1",
    async (dataDir) => {
      const refused = await launchFleet({ dataDir });
      await expect(refused.exited()).resolves.toBe(1);
      expect(refused.output()).toContain(dataDir);
    },
  );
});
