import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  type ExternalServer,
  hasNats,
  hasRedis,
  startNatsServer,
  startRedisServer,
} from "@berth/service-kit/testing/external-servers";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";

/**
 * The examples of the seed (org-resource-manager), with its curl commands and its JavaScript as they are printed but for the
 * ports, against a control-plane of its own: with what is embedded, over NATS, and with Redis beside it.
 */
const run = promisify(execFile);

interface Driver {
  readonly name: string;
  readonly isThere: () => boolean;
  /** Starts what it needs; gives that with the settings for it. */
  readonly start: () => Promise<{ readonly server?: ExternalServer; readonly env: object }>;
}

const DRIVERS: readonly Driver[] = [
  { name: "what is embedded", isThere: () => true, start: async () => ({ env: {} }) },
  {
    ...{ name: "NATS", isThere: hasNats },
    start: async () => {
      const server = await startNatsServer({ jetStream: true });
      return { server, env: { BERTH_NATS_URL: server.url } };
    },
  },
  {
    ...{ name: "Redis", isThere: hasRedis },
    start: async () => {
      const server = await startRedisServer();
      return { server, env: { BERTH_REDIS_URL: server.url } };
    },
  },
];

for (const driver of DRIVERS) {
  describe.skipIf(!driver.isThere())(`the examples of the seed, with ${driver.name}`, () => {
    examples(driver);
  });
}

function examples(driver: Driver): void {
  let plane: ControlPlaneProcess;
  let server: ExternalServer | undefined;
  /** Ports of this test by those that the seed prints. */
  let ports: Readonly<Record<string, number>>;

  beforeAll(async () => {
    const [metrics = 0, usage = 0, subjects = 0, registry = 0, ...others] = await freePorts(6);
    const [autoscaler = 0, adhoc = 0] = others;
    const started = await driver.start();
    server = started.server;
    plane = await startControlPlane({
      env: {
        ...started.env,
        BERTH_ALIAS_PORTS: "on",
        BERTH_METRICS_ALIAS_PORT: String(metrics),
        BERTH_SUBJECT_METRICS_ALIAS_PORT: String(usage),
        BERTH_SUBJECTS_ALIAS_PORT: String(subjects),
        BERTH_CLUSTERS_ALIAS_PORT: String(registry),
        BERTH_AUTOSCALE_ALIAS_PORT: String(autoscaler),
        BERTH_ADHOC_ALIAS_PORT: String(adhoc),
      },
    });
    ports = {
      5000: autoscaler,
      6789: adhoc,
      8000: plane.ports.http,
      8765: plane.ports.ws,
      8888: metrics,
      8891: usage,
      8892: subjects,
    };
  }, 120_000);
  afterAll(async () => {
    await plane?.stop();
    await server?.stop();
  });

  /** A command line of the seed, its ports replaced by ours. */
  async function shell(command: string) {
    const own = command.replaceAll(/localhost:(\d+)/g, (_all, port) => `localhost:${ports[port]}`);
    const { stdout } = await run("bash", ["-c", own.replace("curl", "curl -s")]);
    return JSON.parse(stdout);
  }

  it("creates, reads, changes, finds and deletes a quota by the seed's curl commands", async () => {
    const quota = `{
"subject_id": "subject-001",
"quota_id": "quota-001",
"allocation_info": "gpu-allocation",
"replica_count": "3"
}`;
    const created = await shell(`curl -X POST http://localhost:8000/quota \\
-H "Content-Type: application/json" \\
-d '${quota}'`);
    expect(created).toMatchObject({ success: true, data: { message: "Resource quota created" } });
    const got = await shell("curl http://localhost:8000/quota/quota-001");
    expect(got).toMatchObject({ success: true, data: JSON.parse(quota) });
    const changed = await shell(`curl -X PUT http://localhost:8000/quota/quota-001 \\
-H "Content-Type: application/json" \\
-d '{"replica_count": "5"}'`);
    expect(changed).toMatchObject({ success: true, data: { message: "Resource quota updated" } });
    const found = await shell(`curl -X POST http://localhost:8000/quotas \\
-H "Content-Type: application/json" \\
-d '{"subject_id": "subject-001"}'`);
    expect(found.data).toMatchObject([{ ...JSON.parse(quota), replica_count: "5" }]);
    expect(await shell("curl -X DELETE http://localhost:8000/quota/quota-001")).toMatchObject({
      ...{ success: true, data: { message: "Resource quota deleted" } },
    });
    expect(await shell("curl http://localhost:8000/quota/quota-001")).toMatchObject({
      success: false,
      error: expect.any(String),
    });
  });

  it("reports as the seed's curl commands and JavaScript read it", async () => {
    const post = (path: string, body: object) =>
      fetch(`${plane.restUrl}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    await post("/quota", { subject_id: "subject-001", quota_id: "q", replica_count: "3" });
    const trainer = { subject_id: "subject-001", name: "Trainer-A", type: "gpu-node" };
    await post("/subjects", trainer);
    const usage = { subject_id: "subject-001", cpu_usage: 8.4, memory_usage: 5_120 };
    await post("/metrics/webhook", usage);

    const report = await shell("curl -X GET http://localhost:8000/metrics/report");
    expect(report).toMatchObject({
      success: true,
      data: {
        cluster_metrics: expect.any(Object),
        subjects: { data: { "subject-001": trainer }, metrics: { "subject-001": usage } },
      },
    });
    const metrics = await shell("curl http://localhost:8891/subjects");
    expect(metrics).toMatchObject({ success: true, data: [usage] });
    const subjects = await shell(`curl -G http://localhost:8892/subjects \\
--data-urlencode "subject_id=subject-001" \\
--data-urlencode "subject_id=subject-002"`);
    const org_id = "default_org";
    expect(subjects).toEqual({ success: true, data: [{ ...trainer, org_id }] });

    const ws = new WebSocket(`ws://localhost:${ports[8765]}/?interval=15`);
    const received = await new Promise((resolve) => {
      ws.onmessage = (event) => {
        const report = JSON.parse(String(event.data));
        resolve(report);
      };
    });
    ws.terminate();
    // Ages go on between the two.
    const { metrics: _measured, ...told } = report.data.subjects;
    expect(received).toMatchObject({ success: true, data: { subjects: told } });
    expect(received).toMatchObject({ data: { subjects: { metrics: { "subject-001": usage } } } });
  });

  it.each(["5000", "8000"])(
    "takes configuration and interval on port %s as the seed prints them",
    async (port) => {
      const url = `http://127.0.0.1:${ports[Number(port)]}`;
      const post = async (path: string, text: string) => {
        const headers = { "content-type": "application/json" };
        return (await fetch(`${url}${path}`, { method: "POST", headers, body: text })).json();
      };
      const get = async (path: string) => (await fetch(`${url}${path}`)).json();
      expect(await post("/autoscale/config", '{"incr": 2, "threshold": 0.7}')).toMatchObject({
        ...{ success: true, message: "Configuration updated" },
      });
      expect(await get("/autoscale/config")).toMatchObject({
        ...{ success: true, data: { incr: 2, threshold: 0.7 } },
      });
      expect(await post("/autoscale/interval", '{"interval": 60}')).toMatchObject({
        ...{ success: true, message: "Interval updated" },
      });
      expect(await get("/autoscale/interval")).toMatchObject({
        success: true,
        data: { interval: 60 },
      });
    },
  );

  it("scales ad hoc by the seed's messages", async () => {
    await fetch(`${plane.restUrl}/quota`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ subject_id: "subject-xyz", quota_id: "q-xyz", replica_count: "1" }),
    });
    const ws = new WebSocket(`ws://127.0.0.1:${ports[6789]}`);
    ws.on("open", () => ws.send('{"subject_id": "subject-xyz", "replica_count": 3}'));
    const closed = new Promise((resolve) => ws.once("close", resolve));
    const answer = await new Promise((resolve) => {
      ws.on("message", (data) => resolve(JSON.parse(data.toString())));
    });
    const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);
    const response = { uuid, response: { status: "allocated", replicas: 3 } };
    expect(answer).toEqual({ success: true, response });
    expect(await closed).toBe(1000);
    const { data } = await shell("curl http://localhost:8000/quota/q-xyz");
    expect(data.replica_count).toBe("3");
  });
}
