import { readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import {
  type ExternalServer,
  hasNats,
  startNatsServer,
} from "@berth/service-kit/testing/external-servers";
import { freePort } from "@berth/service-kit/testing/free-ports";
import { connect, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { type Fleet, freePorts, launchFleet, until } from "../support/fleet.ts";

/** A workflow in Python over the GPUs of a simulated fleet whose load rises and falls, through the real programs. */
const WAIT = { timeout: 60_000, interval: 100 };
const ROOT = path.resolve(import.meta.dirname, "../..");
const SERVER = path.join(ROOT, "examples/blocks/echo/server.js");
const WORKFLOW = path.join(ROOT, "examples/workflows/gpu-load.yaml");
const FLAVOR = "NVIDIA H100 80GB HBM3";

describe.skipIf(!hasNats())("the autoscaler", () => {
  let fleet: Fleet;
  let nats: ExternalServer;
  let bus: NatsConnection;
  let simUrl: string;
  const confirmed: unknown[] = [];

  beforeAll(async () => {
    nats = await startNatsServer({ jetStream: true });
    bus = await connect({ servers: nats.url });
    void (async () => {
      for await (const message of bus.subscribe("default_org__alloc_response")) {
        confirmed.push(message.json());
      }
    })();
    const ports = await freePorts();
    const simPort = await freePort();
    simUrl = `http://127.0.0.1:${simPort}`;
    const args = ["--sim", "2x2x4", "--load", "idle", "--sim-port", String(simPort)];
    const env = { BERTH_NATS_URL: nats.url };
    fleet = await launchFleet({ ports, env, args: [...args, "--no-cluster-ports"] });
    await until(() => fleet.output().includes("Ctrl-C stops the fleet"), {
      limitMs: 80_000,
      what: () => `the simulated fleet to be ready; so far:\n${fleet.output()}`,
    });
  });
  afterAll(async () => {
    await call("DELETE", "/blocks/echo").catch(() => undefined);
    await bus?.close();
    await fleet?.stop();
    await nats?.stop();
  });

  async function post(url: string, body: object, method = "POST") {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method, headers, body: JSON.stringify(body) });
    return { status: answer.status, body: JSON.parse(await answer.text()) };
  }
  const call = (method: string, at: string, body: object = {}) => {
    const url = `http://127.0.0.1:${fleet.ports.http}${at}`;
    if (method !== "GET") return post(url, body, method);
    return fetch(url).then(async (answer) => ({
      ...{ status: answer.status, body: JSON.parse(await answer.text()) },
    }));
  };
  const replicas = async () => (await call("GET", "/quota/q")).body.data.replica_count as string;
  const instances = async () => {
    const { body } = await call("GET", "/blocks/echo");
    return (body.data.instances as readonly unknown[]).length;
  };

  it("has as many replicas as their load wants, confirmed on NATS and seen in the feed", async () => {
    const component = { containerRegistryInfo: { command: [process.execPath, SERVER] } };
    const block = { id: "echo", minInstances: 1, resources: { gpus: 1 }, component };
    expect((await call("POST", "/blocks", block)).status).toBe(201);
    const allocation_info = { block_id: "echo", gpus_per_replica: { [FLAVOR]: 1 } };
    const quota = { quota_id: "q", subject_id: "echo-team", replica_count: "1", allocation_info };
    const bounds = { min_replicas: 1, max_replicas: 4, nominal: { [FLAVOR]: 4 } };
    expect((await call("POST", "/quota", { ...quota, ...bounds })).status).toBe(201);
    const yaml = readFileSync(WORKFLOW, "utf8");
    expect((await call("POST", "/workflows", { yaml })).status).toBe(201);
    await call("POST", "/autoscale/rules", {
      workflow_id: "gpu-load",
      guards: { scale_down: { stabilization_seconds: 2 } },
    });
    const feed = new WebSocket(`ws://127.0.0.1:${fleet.ports.ws}/?interval=1`);
    const desired = new Set<string>();
    feed.on("message", (data) => {
      const report = JSON.parse(data.toString()).data;
      for (const one of report.subjects.quotas["echo-team"] ?? []) {
        desired.add(`${one.replica_count} desired, ${one.observed_replicas} observed`);
      }
    });
    const answer = await call("POST", "/autoscale/interval", { interval: 1 });
    expect(answer.body).toMatchObject({ success: true, message: "Interval updated" });

    await post(`${simUrl}/sim/load`, { load: "busy" });
    await vi.waitFor(async () => expect(await replicas()).toBe("4"), WAIT);
    await vi.waitFor(async () => expect(await instances()).toBe(4), WAIT);
    await vi.waitFor(() => expect(desired).toContain("4 desired, 4 observed"), WAIT);
    const { body: up } = await call("GET", "/autoscale/decisions?subject_id=echo-team&kind=change");
    expect(up.data[0]).toMatchObject({
      ...{ quota_id: "q", replicas: 4, uuid: expect.any(String) },
      workflow_reason: expect.stringMatching(/busy GPUs, 70 % wanted$/),
    });
    const { body: request } = await call("GET", `/autoscale/requests/${up.data[0].uuid}`);
    expect(request.data).toMatchObject({ state: "confirmed", origin: "autoscaler" });
    expect(confirmed).toContainEqual(
      expect.objectContaining({
        uuid: up.data[0].uuid,
        response: expect.objectContaining({ status: "allocated", replicas: 4 }),
      }),
    );

    const scraped = await (await fetch(`http://127.0.0.1:${fleet.ports.http}/metrics`)).text();
    expect(scraped).toMatch(/^berth_autoscaler_evaluations_total\{state="done"\} [1-9]/m);
    expect(scraped).toMatch(/^berth_bus_up 1$/m);

    await post(`${simUrl}/sim/load`, { load: "idle" });
    await vi.waitFor(async () => expect(await replicas()).toBe("1"), WAIT);
    await vi.waitFor(async () => expect(await instances()).toBe(1), WAIT);
    await vi.waitFor(() => expect(desired).toContain("1 desired, 1 observed"), WAIT);
    feed.terminate();

    await call("POST", "/autoscale/rules", { guards: { paused: true } });
    await post(`${simUrl}/sim/load`, { load: "busy" });
    await vi.waitFor(async () => {
      const { body } = await call("GET", "/autoscale/decisions?subject_id=echo-team&limit=1");
      expect(body.data[0]).toMatchObject({ kind: "keep", current: 1, wanted: 2, replicas: 1 });
      expect(body.data[0].why).toContain("paused");
    }, WAIT);
    expect(await replicas()).toBe("1");
  });

  it("decides nothing after a restart until every cluster was heard, and says which are missing", async () => {
    const simulators = fleet.pids("simulator");
    expect(simulators.length).toBeGreaterThan(0);
    for (const pid of simulators) process.kill(pid, "SIGSTOP");
    try {
      const before = fleet.pidOf("control-plane");
      process.kill(before, "SIGKILL");
      await vi.waitFor(async () => {
        const { body } = await call("POST", "/autoscale/evaluate");
        expect(body.data).toMatchObject({
          state: "held",
          reason: expect.stringMatching(/^waits for clusters .*: sim-0, sim-1$/),
        });
      }, WAIT);
      const { sources } = (await call("GET", "/metrics/report")).body.data;
      expect(sources.clusters).toMatchObject({ ok: false, unreachable: ["sim-0", "sim-1"] });
      expect(fleet.pidOf("control-plane")).not.toBe(before);
    } finally {
      for (const pid of simulators) process.kill(pid, "SIGCONT");
    }
    await vi.waitFor(async () => {
      const { body } = await call("POST", "/autoscale/evaluate");
      expect(body.data.state).toBe("done");
    }, WAIT);
  });
});
