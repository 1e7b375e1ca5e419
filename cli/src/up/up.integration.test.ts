import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  CONTROL_PLANE,
  FakePrograms,
  isAlive,
  LIVE_CLUSTER,
  OBEDIENT,
  readIfThere,
  serving,
  WITH_WORKER,
  waitFor,
} from "../testing/fake-programs.ts";
import { Up } from "../testing/up-process.ts";

const PROGRAMS = ["control-plane", "cluster-agent", "node-agent"];

describe("berth up", () => {
  let fakes: FakePrograms;
  let files: string[];
  let ports: number[];
  let ups: Up[];

  beforeEach(async () => {
    fakes = new FakePrograms();
    ports = await freePorts(5);
    ups = [];
    files = [
      fakes.write("control-plane", CONTROL_PLANE),
      fakes.write("cluster-agent", WITH_WORKER),
      fakes.write("node-agent", OBEDIENT),
    ];
  });

  afterEach(async () => {
    for (const { child } of ups) child.kill("SIGTERM");
    await Promise.all(ups.map((up) => up.ended));
    fakes.remove();
  });

  function begin(env?: Record<string, string>, dataDir = join(fakes.dir, "data")): Up {
    const flags = ["--http-port", "--ws-port", "--agent-port", "--cluster-port", "--node-port"];
    const portArgs = flags.flatMap((flag, i) => [flag, String(ports[i])]);
    const up = new Up([...files, ...portArgs, "--data-dir", dataDir], env);
    ups.push(up);
    return up;
  }

  async function pids(): Promise<number[]> {
    const own = await Promise.all(PROGRAMS.map((name) => fakes.number("data", name, "pid")));
    return [...own, await fakes.number("data", "cluster-agent", "worker-pid")];
  }

  const env = (name: string): Record<string, string> =>
    JSON.parse(readFileSync(join(fakes.dir, "data", name, "env.json"), "utf8"));

  const alive = (all: readonly number[]) => all.filter(isAlive);

  it("tells what it waits for, then the URLs, the node and the next command", async () => {
    const up = begin();
    await up.ready();
    expect(up.stdout).toMatch(/^waiting for .* to start\n/);
    expect(up.stdout).toContain(`http://127.0.0.1:${ports[0]}\n`);
    expect(up.stdout).toContain(`ws://127.0.0.1:${ports[1]}\n`);
    expect(up.stdout).toContain("n1: Fake CPU, 4 cores; 8.0 GiB memory; GPUs: none\n");
    expect(up.stdout).toContain("npx berth policy publish examples/policies/least-loaded");
    expect(up.stderr).toBe("");
  });

  it("gives each program its own directory and tokens, and little of the caller's environment", async () => {
    const up = begin({ BERTH_LOG_LEVEL: "debug", SECRET: "x", BERTH_ENROLMENT_TOKEN: "mine" });
    await up.ready();
    const secret = (name: string) =>
      readFileSync(join(fakes.dir, "data/tokens", name), "utf8").trim();
    const token = `berth1.${secret("node")}`;
    expect(env("node-agent")).toMatchObject({
      BERTH_ENROLMENT_TOKEN: token,
      BERTH_LOG_LEVEL: "debug",
    });
    expect(env("cluster-agent")).toMatchObject({
      BERTH_LOCAL_TOKEN: token,
      BERTH_ENROLMENT_TOKEN: `berth1.${secret("link")}`,
    });
    expect(env("node-agent")).not.toHaveProperty("SECRET");
    expect(env("node-agent")).not.toHaveProperty("BERTH_LOCAL_TOKEN");
    expect(env("control-plane")).not.toHaveProperty("BERTH_ENROLMENT_TOKEN");
    expect(statSync(join(fakes.dir, "data")).mode & 0o777).toBe(0o700);
    expect(statSync(join(fakes.dir, "data/tokens/link")).mode & 0o777).toBe(0o600);
  });

  it("keeps the tokens of an older data directory", async () => {
    mkdirSync(join(fakes.dir, "data/tokens"), { recursive: true });
    writeFileSync(join(fakes.dir, "data/tokens/link"), `${"k".repeat(43)}\n`);
    await begin().ready();
    expect(env("control-plane").BERTH_LOCAL_TOKEN).toBe(`berth1.${"k".repeat(43)}`);
  });

  it("has its own agents dial over TLS when a port is opened to other machines", async () => {
    const up = begin({ BERTH_AGENT_HOST: "0.0.0.0" });
    await up.ready();
    expect(up.stdout).toContain(`https://0.0.0.0:${ports[2]}\n`);
    expect(env("control-plane").BERTH_AGENT_HOST).toBe("0.0.0.0");
    expect(env("cluster-agent")).toMatchObject({
      BERTH_CONTROL_PLANE_URL: `https://127.0.0.1:${ports[2]}`,
      BERTH_CA_FILE: join(fakes.dir, "data/control-plane/ca.pem"),
    });
  });

  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "leaves no process behind and exits with 0 on %s",
    async (signal) => {
      const up = begin();
      await up.ready();
      const all = await pids();
      expect(alive(all)).toEqual(all);
      up.child.kill(signal);
      expect(await up.ended).toEqual({ code: 0, signal: null });
      expect(alive(all)).toEqual([]);
    },
  );

  it("takes a second signal as the same request", async () => {
    const up = begin();
    await up.ready();
    const all = await pids();
    up.child.kill("SIGINT");
    up.child.kill("SIGTERM");
    up.child.kill("SIGINT");
    expect(await up.ended).toEqual({ code: 0, signal: null });
    expect(alive(all)).toEqual([]);
  });

  it("stops before it is ready, too", async () => {
    files[0] = fakes.write("control-plane", OBEDIENT);
    const up = begin();
    await waitFor("the wait for an answer", () => up.stdout.includes("to answer on http"));
    up.child.kill("SIGTERM");
    expect(await up.ended).toEqual({ code: 0, signal: null });
  });

  it("leaves no program behind when it is killed itself, and can be started again", async () => {
    files[1] = fakes.write("cluster-agent", OBEDIENT);
    const up = begin();
    await up.ready();
    const all = await Promise.all(PROGRAMS.map((name) => fakes.number("data", name, "pid")));
    up.child.kill("SIGKILL");
    await waitFor("the programs to leave", () => alive(all).length === 0);
    await begin().ready();
  });

  it("tells of a restart and of the program's return", async () => {
    const up = begin();
    await up.ready();
    process.kill(await fakes.number("data", "control-plane", "pid"), "SIGKILL");
    await waitFor("the return", () => up.stdout.includes("control-plane is back\n"));
    expect(up.stdout).toContain("control-plane exited with SIGKILL; restarting in 0.2 s\n");
    expect(readIfThere(join(fakes.dir, "data/logs/control-plane.log"))).toContain(
      "supervisor: control-plane exited with SIGKILL; restarting in 0.2 s\n",
    );
  });

  it("refuses a data directory that another one uses, in one line", async () => {
    const first = begin();
    await first.ready();
    const second = begin();
    expect(await second.ended).toEqual({ code: 1, signal: null });
    expect(second.stderr).toBe(
      `error: the data directory ${fakes.dir}/data is used by another \`berth up\` (process ${first.child.pid}): stop that one, or choose another with --data-dir\n`,
    );
    expect(second.stdout).toBe("");
    expect(alive(await pids())).toHaveLength(4);
  });

  it("refuses a data directory that cannot be written, in one line", async () => {
    writeFileSync(join(fakes.dir, "file"), "");
    const up = begin({}, join(fakes.dir, "file", "data"));
    expect(await up.ended).toEqual({ code: 1, signal: null });
    expect(up.stderr).toMatch(/^error: the data directory .* cannot be used \(ENOTDIR: .*\n$/);
  });

  it("refuses a token that was tampered with", async () => {
    mkdirSync(join(fakes.dir, "data/tokens"), { recursive: true });
    writeFileSync(join(fakes.dir, "data/tokens/link"), "short\n");
    const up = begin();
    expect(await up.ended).toEqual({ code: 1, signal: null });
    expect(up.stderr).toMatch(/tokens\/link: expected 43 base64url characters: .*\n$/);
  });

  it("stops everything when a port is taken, and does not mistake the other server for its own", async () => {
    const cluster = { id: "local", status: "live", nodes: { nodeData: [{ id: "other" }] } };
    const other = createServer((_request, response) => response.end(JSON.stringify(cluster)));
    await new Promise<void>((resolve) => other.listen(ports[0], "127.0.0.1", resolve));
    try {
      const up = begin();
      const agent = await fakes.number("data", "node-agent", "pid");
      expect(await up.ended).toEqual({ code: 1, signal: null });
      expect(up.stderr).toContain(
        `error: control-plane failed to start: listen EADDRINUSE: address already in use 127.0.0.1:${ports[0]}; set --http-port (BERTH_HTTP_PORT) to another port\nlog: ${fakes.dir}/data/logs/control-plane.log\n`,
      );
      expect(up.stdout.match(/EADDRINUSE/g)).toHaveLength(1);
      expect(up.stdout).not.toContain("restarting");
      expect(up.stdout).not.toContain("Berth is ready");
      expect(isAlive(agent)).toBe(false);
    } finally {
      other.closeAllConnections();
      other.close();
    }
  });

  it("names the flag that moves a taken port, not what the program calls it", async () => {
    files[1] = fakes.write("cluster-agent", serving("cluster-agent", {}));
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(ports[3], "127.0.0.1", resolve));
    try {
      const up = begin();
      expect(await up.ended).toEqual({ code: 1, signal: null });
      const hint = "; set --cluster-port (BERTH_CLUSTER_PORT) to another port\n";
      expect(up.stdout).toContain(`:${ports[3]}${hint}`);
      expect(up.stderr).toContain(`:${ports[3]}${hint}`);
      expect(up.stdout + up.stderr).not.toContain("BERTH_HTTP_PORT");
    } finally {
      other.close();
    }
  });

  it("tells why the control-plane refuses the cluster-agent, and what helps", async () => {
    const lastError = "ALREADY_EXISTS: cluster_id: local is bound to another cluster";
    const link = { state: "down", lastError };
    files[0] = fakes.write("control-plane", serving("control-plane", {}));
    files[1] = fakes.write("cluster-agent", serving("cluster-agent", { "/readyz": { link } }));
    const up = begin();
    const command = `npx berth delete cluster local --force --server http://127.0.0.1:${ports[0]}\n`;
    await waitFor("the command", () => up.stdout.includes(command));
    expect(up.stdout).toContain(
      "the control-plane refuses the cluster-agent (ALREADY_EXISTS): cluster_id: local is bound to another cluster\n",
    );
    expect(up.stdout).toContain(`${fakes.dir}/data/cluster-agent/cluster.db `);
    fakes.answer("control-plane", LIVE_CLUSTER);
    await up.ready();
    expect(up.stdout.match(/refuses/g)).toHaveLength(1);
  });

  it("is not ready while the policy sandbox has no snapshot, and says why", async () => {
    const sandbox = { snapshot: "failed", failure: "ENOSPC: no space left on device" };
    const answers = { ...LIVE_CLUSTER, "/readyz": { data: { sandbox } } };
    files[0] = fakes.write("control-plane", serving("control-plane", answers));
    const up = begin();
    await waitFor("the reason", () =>
      up.stdout.includes("waiting for the policy sandbox (ENOSPC: no space left on device)\n"),
    );
    expect(up.stdout).not.toContain("Berth is ready");
    const healed = { "/readyz": { data: { sandbox: { snapshot: "building" } } } };
    fakes.answer("control-plane", healed);
    await up.ready();
  });

  it("tells a sandbox that fails after everything else is ready, and its recovery", async () => {
    const up = begin();
    await up.ready();
    const tell = (sandbox: object) =>
      fakes.answer("control-plane", { "/readyz": { data: { sandbox } } });
    tell({ snapshot: "building", failure: "EIO: i/o error, write" });
    await waitFor("the failure", () =>
      up.stdout.includes(
        "the control-plane cannot run policies: its sandbox has no snapshot: EIO: i/o error, write\n",
      ),
    );
    tell({ snapshot: "ready" });
    await waitFor("the recovery", () => up.stdout.includes("the policy sandbox is ready\n"));
    expect(up.stdout.match(/cannot run policies/g)).toHaveLength(1);
  });

  it("stops when the launcher that runs it under the pinned Node is gone", async () => {
    const up = begin({ BERTH_LAUNCHER_PID: "1999999999" });
    expect(await up.ended).toEqual({ code: 0, signal: null });
  });
});
