import http from "node:http";
import type { AddressInfo } from "node:net";
import { hasNats, startNatsServer } from "@berth/service-kit/testing/external-servers";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";

const KILLS = 10;
const WAIT = { timeout: 30_000, interval: 50 };

let plane: ControlPlaneProcess;
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  plane = await startControlPlane({ env });
  ends.unshift(() => plane.stop());
}

async function call(method: string, path: string, body?: object) {
  const answer = await fetch(`${plane.restUrl}${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: JSON.parse(await answer.text()) };
}

const quota = (subject: string) =>
  call("POST", "/quota", { subject_id: subject, quota_id: `q-${subject}`, replica_count: "1" });

/** What a WebSocket answers to one message, and how it is closed. */
async function adhoc(url: string, message: object) {
  const socket = new WebSocket(url);
  const answer = new Promise<unknown>((resolve, reject) => {
    socket.on("message", (data) => resolve(JSON.parse(data.toString())));
    socket.on("error", reject);
  });
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  socket.on("open", () => socket.send(JSON.stringify(message)));
  return { answer: await answer, code: await closed };
}

describe("ad-hoc scaling", { timeout: 120_000 }, () => {
  it("speaks the seed's messages on the seed's port and on the REST port", async () => {
    const [port = 0, ...others] = await freePorts(5);
    const [clusters = 0, metrics = 0, usage = 0, subjects = 0] = others;
    await start({
      BERTH_ALIAS_PORTS: "on",
      BERTH_ADHOC_ALIAS_PORT: String(port),
      BERTH_CLUSTERS_ALIAS_PORT: String(clusters),
      BERTH_METRICS_ALIAS_PORT: String(metrics),
      BERTH_SUBJECT_METRICS_ALIAS_PORT: String(usage),
      BERTH_SUBJECTS_ALIAS_PORT: String(subjects),
    });
    await quota("subject-xyz");
    const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);
    const response = { uuid, response: { status: "allocated", replicas: 3 } };
    const message = { subject_id: "subject-xyz", replica_count: 3 };
    expect(await adhoc(`ws://127.0.0.1:${port}`, message)).toEqual({
      answer: { success: true, response },
      code: 1000,
    });
    const again = { subject_id: "subject-xyz", replica_count: 4 };
    const rest = `ws://127.0.0.1:${plane.ports.http}/ws/autoscale`;
    expect(await adhoc(rest, again)).toMatchObject({ answer: { success: true }, code: 1000 });
    const { body } = await call("GET", "/quota/q-subject-xyz");
    expect(body.data).toMatchObject({ replica_count: "4" });
  });

  it(`loses, doubles and reorders no request over ${KILLS} times kill -9`, async () => {
    await start();
    const subjects = ["a", "b", "c"];
    for (const subject of subjects) await quota(subject);
    const taken: { readonly uuid: string; readonly subject: string; readonly wanted: number }[] =
      [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      const asked = Array.from({ length: 12 }, async (_, n) => {
        const subject = subjects[n % 3] ?? "";
        const wanted = 1 + ((kill * 7 + n) % 9);
        const request = { subject_id: subject, replica_count: wanted, wait: false };
        const { status, body } = await call("POST", "/autoscale/requests", request);
        if (status < 300) taken.push({ uuid: body.data.uuid, subject, wanted });
      });
      const done = Promise.allSettled(asked);
      await new Promise((resolve) => setTimeout(resolve, 15 + kill * 12));
      // On a machine that is busy nothing may have been answered by then.
      await Promise.any(asked);
      await plane.restart();
      await done;
      await vi.waitFor(async () => {
        expect((await call("GET", "/readyz")).status).toBe(200);
      }, WAIT);
    }
    expect(taken.length).toBeGreaterThanOrEqual(KILLS);
    await vi.waitFor(async () => {
      for (const state of ["pending", "dispatched"]) {
        const { body } = await call("GET", `/autoscale/requests?state=${state}`);
        expect(body.data).toEqual([]);
      }
    }, WAIT);
    const { data } = (await call("GET", "/autoscale/requests")).body;
    const found = new Map(data.map((one: { uuid: string }) => [one.uuid, one]));
    for (const { uuid, wanted } of taken) {
      expect(found.get(uuid)).toMatchObject({
        replicas: wanted,
        state: expect.stringMatching(/^(confirmed|superseded)$/),
      });
    }
    for (const subject of subjects) {
      const own = data.filter((one: { subject_id: string }) => one.subject_id === subject);
      const generations = own.map((one: { generation: number }) => one.generation);
      expect(new Set(generations).size).toBe(own.length);
      const newest = own.find(
        (one: { generation: number }) => one.generation === Math.max(...generations),
      );
      const { body } = await call("GET", `/quota/q-${subject}`);
      expect([newest.state, body.data.replica_count]).toEqual(["confirmed", `${newest.replicas}`]);
    }
  });
});

describe.skipIf(!hasNats())("confirmations over NATS", { timeout: 120_000 }, () => {
  it("are heard by others, and come when the server was killed meanwhile", async () => {
    const nats = await startNatsServer({ jetStream: true });
    ends.push(() => nats.stop());
    await start({ BERTH_NATS_URL: nats.url });
    await quota("subject-xyz");
    const { connect } = await import("nats");
    const client = await connect({ servers: nats.url, maxReconnectAttempts: -1 });
    ends.unshift(() => client.close());
    const heard: unknown[] = [];
    client.subscribe("default_org__alloc_response", {
      callback: (_error, message) => heard.push(message.json()),
    });
    await client.flush();
    const rest = `ws://127.0.0.1:${plane.ports.http}/ws/autoscale`;
    const ask = (replicas: number) =>
      adhoc(rest, { subject_id: "subject-xyz", replica_count: replicas, timeout_ms: 30_000 });
    const { answer } = await ask(3);
    expect(answer).toMatchObject({ success: true });
    await vi.waitFor(() => {
      expect(heard).toEqual([(answer as { response: unknown }).response]);
    }, WAIT);
    await nats.kill9();
    const asked = ask(5);
    await vi.waitFor(async () => {
      const { body } = await call("GET", "/autoscale/requests?state=dispatched");
      expect(body.data).toHaveLength(1);
    }, WAIT);
    await nats.restart();
    expect(await asked).toMatchObject({
      answer: { success: true, response: { response: { replicas: 5 } } },
    });
    const { body } = await call("GET", "/quota/q-subject-xyz");
    expect(body.data).toMatchObject({ replica_count: "5" });
  });
});

describe("an allocator of the org's own", () => {
  it("that has no bus says by REST what became of a request", async () => {
    const asked: { uuid: string }[] = [];
    const server = http.createServer(async (request, response) => {
      asked.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
      response.writeHead(202, { "content-type": "application/json" }).end('{"success": true}');
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    ends.push(async () => void server.close().closeAllConnections());
    const { port } = server.address() as AddressInfo;
    await start({ BERTH_SUBJECT_ALLOCATOR_URL: `http://127.0.0.1:${port}` });
    await quota("s");
    const body = { subject_id: "s", replica_count: 4, wait: false };
    const { uuid } = (await call("POST", "/autoscale/requests", body)).body.data;
    await vi.waitFor(
      () => expect(asked).toMatchObject([{ uuid, subject_id: "s", replicas: 4 }]),
      WAIT,
    );
    const path = `/autoscale/requests/${uuid}`;
    expect(await call("POST", "/autoscale/requests/none/confirm", { replicas: 4 })).toMatchObject({
      status: 404,
    });
    const wrong = await call("POST", `${path}/confirm`, { replicas: -1 });
    expect(wrong).toMatchObject({
      status: 400,
      body: { message: expect.stringMatching(/^replicas/) },
    });
    await plane.restart();
    await vi.waitFor(async () => {
      expect((await call("POST", `${path}/confirm`, { replicas: 3 })).status).toBe(202);
    }, WAIT);
    const over = await call("GET", `${path}?timeout_ms=20000`);
    expect(over.body.data).toMatchObject({ state: "partial", response: { replicas: 3 } });
    expect((await call("GET", "/quota/q-s")).body.data.replica_count).toBe("3");
  });
});
