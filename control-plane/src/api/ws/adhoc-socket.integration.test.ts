import type http from "node:http";
import type { AddressInfo } from "node:net";
import {
  createBoundedServer,
  type DocumentStore,
  HttpTraffic,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { Allocator } from "../../allocation/allocator.ts";
import { openScaling, type TestScaling } from "../../testing/scaling-fixture.ts";
import { WsEndpoints } from "./ws-server.ts";

let store: DocumentStore;
let scaling: TestScaling;
let server: http.Server;
let port: number;
const sockets: WebSocket[] = [];

beforeEach(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  scaling = await openScaling({ store });
  const endpoints = new WsEndpoints({
    allocator: { allocate: () => Promise.reject(new Error("not here")) } as unknown as Allocator,
    blockMode: { answer: () => Promise.reject(new Error("not here")) },
    feed: { subscribe: () => () => undefined },
    autoscaler: scaling,
    authenticate: loopbackAuthenticator("default_org"),
    origins: { allowedHosts: [], allowedOrigins: [] },
    traffic: new HttpTraffic(),
    logger: silentLogger,
  });
  server = createBoundedServer((_request, response) => response.end());
  endpoints.attach(server, new Map([["/ws/autoscale", "adhoc"]]));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
  await scaling.books.quotas.create({ subject_id: "subject-xyz", quota_id: "q", max_replicas: 5 });
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await scaling.stop();
  await store.close();
});

function dial(query = "") {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/autoscale${query}`);
  sockets.push(socket);
  const frames: unknown[] = [];
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  socket.on("message", (data) => frames.push(JSON.parse(data.toString())));
  const opened = new Promise<void>((resolve) => socket.once("open", () => resolve()));
  const send = async (message: unknown) => {
    await opened;
    socket.send(typeof message === "string" ? message : JSON.stringify(message));
  };
  return { socket, frames, closed, send };
}

/** Replicas are confirmed by nobody: nothing is applied until the tests' end. */
async function nobodyConfirms(): Promise<void> {
  await scaling.parts[0]?.stop();
}

it("answers the seed's message with the confirmation, and closes", async () => {
  const { send, frames, closed } = dial();
  await send({ subject_id: "subject-xyz", replica_count: 3 });
  expect(await closed).toBe(1000);
  const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);
  expect(frames).toEqual([
    { success: true, response: { uuid, response: { status: "allocated", replicas: 3 } } },
  ]);
  expect(scaling.books.quotas.get("q").quota.replicas).toBe(3);
});

it("answers as the seed says when nothing is confirmed in time, and cancels nothing", async () => {
  await nobodyConfirms();
  const { send, frames, closed } = dial();
  await send({ subject_id: "subject-xyz", replica_count: 4, timeout_ms: 20 });
  await closed;
  const [{ uuid, ...answer }] = frames as [{ uuid: string }];
  expect(answer).toEqual({ success: false, error: "Timeout waiting for response" });
  expect(scaling.scale.get(uuid)).toMatchObject({ replicas: 4, state: "dispatched" });
  expect(scaling.scaler.waiting).toBe(0);
});

it("leaves nothing of a client that went away", async () => {
  await nobodyConfirms();
  const { send, socket } = dial();
  await send({ subject_id: "subject-xyz", replica_count: 4 });
  await vi.waitFor(() => expect(scaling.scaler.waiting).toBe(1));
  socket.terminate();
  await vi.waitFor(() => expect(scaling.scaler.waiting).toBe(0));
  expect(scaling.scale.open()).toHaveLength(1);
});

it("stays open for those who want that, and gives each answer its request_id", async () => {
  const { send, frames, socket } = dial("?keep_open=true");
  await send({ subject_id: "subject-xyz", replica_count: "2", request_id: 1 });
  await vi.waitFor(() => expect(frames).toHaveLength(1));
  await send({ subject_id: "nobody", replica_count: 2, request_id: "b" });
  await vi.waitFor(() => expect(frames).toHaveLength(2));
  expect(frames).toMatchObject([
    { success: true, request_id: 1 },
    { success: false, error: 'subject_id: subject "nobody" has no quota', request_id: "b" },
  ]);
  expect(socket.readyState).toBe(WebSocket.OPEN);
});

it.each([
  ["{", /JSON/],
  ["[]", /expected an object/],
  [{}, /^replica_count: required field is missing/],
  [{ replica_count: 3 }, /^subject_id: expected text, got undefined/],
  [{ subject_id: "", replica_count: 3 }, /^subject_id: expected 1-253 characters/],
  [{ subject_id: "subject-xyz", replica_count: true }, /^replica_count: expected a whole number/],
  [{ subject_id: "subject-xyz", replica_count: -1 }, /^replica_count/],
  [{ subject_id: "subject-xyz", replica_count: 2.5 }, /^replica_count/],
  [{ subject_id: "subject-xyz", replica_count: 6 }, /from 0 to 5 replicas, 6 were asked for/],
  [{ subject_id: "subject-xyz", replica_count: 1, timeout_ms: "5" }, /^timeout_ms/],
  [{ subject_id: "subject-xyz", replica_count: 1, keep_open: 1 }, /^keep_open/],
  [{ subject_id: "subject-xyz", replica_count: 1, quota_id: 7 }, /^quota_id/],
])("tells what is wrong with %j, and closes", async (message, error) => {
  const { send, frames, closed } = dial();
  await send(message);
  await closed;
  expect(frames).toMatchObject([{ success: false, error: expect.stringMatching(error) }]);
  expect(scaling.scale.all()).toEqual([]);
});

it.each([
  ["?approvals=x", "approvals: expected true or false"],
  ["?keep_open=1", "keep_open: expected true or false"],
])("refuses %s with an error frame", async (query, message) => {
  const { frames, closed } = dial(query);
  expect(await closed).toBe(1008);
  expect(frames).toMatchObject([{ success: false, message, reason: "INVALID_ARGUMENT" }]);
});

it("tells who approves what waits for them, takes their word, and says how it ended", async () => {
  const approvalWithinMs = 60_000;
  const first = await scaling.ask("subject-xyz", 2, { approvalWithinMs });
  const one = dial("?approvals=true");
  const other = dial("?approvals=true");
  const waiting = { type: "waiting", request: { uuid: first.uuid, state: "awaiting_approval" } };
  await vi.waitFor(() => {
    expect(one.frames).toMatchObject([waiting]);
    expect(other.frames).toMatchObject([waiting]);
  });
  await one.send({ uuid: first.uuid, approve: true, by: "alice" });
  const approved = { type: "decided", request: { uuid: first.uuid, state: "pending" } };
  await vi.waitFor(() => {
    expect(one.frames).toMatchObject([waiting, approved, { success: true }]);
    expect(other.frames).toMatchObject([waiting, approved]);
  });
  expect(scaling.scale.get(first.uuid)?.reason).toMatch(/approved by alice$/);
  const second = await scaling.ask("subject-xyz", 3, { approvalWithinMs });
  await vi.waitFor(() => {
    expect(other.frames[2]).toMatchObject({ type: "waiting", request: { uuid: second.uuid } });
  });
  await other.send({ uuid: second.uuid, approve: "yes" });
  await other.send({ uuid: first.uuid, approve: true });
  await other.send({ uuid: second.uuid, approve: false });
  await vi.waitFor(() => {
    expect(other.frames.slice(3)).toMatchObject([
      { success: false, message: "approve: expected true or false" },
      { success: false, reason: "CONFLICT" },
      { type: "decided", request: { uuid: second.uuid, state: "rejected" } },
      { success: true, data: { state: "rejected" } },
    ]);
  });
});

it("hears a human's word on the bus, too, and nothing else there", async () => {
  const asked = await scaling.ask("subject-xyz", 2, { approvalWithinMs: 60_000 });
  const subject = "berth.default_org.approvals.answers";
  const say = (id: string, body: unknown) =>
    scaling.bus.publish({
      subject,
      text: typeof body === "string" ? body : JSON.stringify(body),
      id,
    });
  await say("1", "no JSON");
  await say("2", { uuid: asked.uuid });
  await say("3", { uuid: "unknown", approve: true });
  expect(scaling.scale.get(asked.uuid)?.state).toBe("awaiting_approval");
  await say("4", { uuid: asked.uuid, approve: true, by: "bob" });
  await vi.waitFor(() => expect(scaling.scale.get(asked.uuid)?.state).toBe("confirmed"));
  expect(scaling.scale.get(asked.uuid)?.reason).toMatch(/approved by bob$/);
});
