import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { exchange } from "../support/client.ts";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { until } from "../support/fleet.ts";
import { rssMiB } from "../support/process-stats.ts";
import { closeCode, frame, frameHead, OPCODE, RawSocket } from "../support/raw-socket.ts";

const MIB = 1024 * 1024;
/** Requests of one socket that the server works on at once. */
const MAX_IN_FLIGHT = 64;
/** An allocation beside any of these clients takes less: far above a slow machine's, far below a hang. */
const PROMPT_MS = 2_000;
/**
 * What the clients of the first group together may add to the server's resident memory. Held at one
 * time: eight unfinished messages of 16 MiB (128 MiB), twenty of 1 MiB, 2,000 idle sockets of some
 * 20 KiB (40 MiB); the rest is room for garbage. Measured: 170 to 250 MiB. They send more than 400 MiB.
 */
const MAX_GROWTH_MIB = 320;
/**
 * What four sockets that read none of 4,000 replies of 100 KB may add: 64 replies each, as text and as
 * frame (50 MiB), and what was garbage before the kernel's buffers were full. Measured with a server
 * that keeps to 64: 73 MiB.
 */
const MAX_UNREAD_MIB = 128;
/** A message that takes longer than this to arrive is none; well above a slow link's 16 MiB. */
const MESSAGE_LIMIT_MS = 65_000;
/** A client has 10 s to send the head of its upgrade; the server looks every second. */
const UPGRADE_LIMIT_MS = 20_000;

const policyOf = (body: string) => `import time
class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        ${body}
`;

/** A client that is thrown out only after a while, if at all. */
interface SlowClient {
  readonly isClosed: boolean;
  destroy(): void;
}

let plane: ControlPlaneProcess;
let quick: string;
let beforeMiB = 0;
const slow = new Map<string, readonly SlowClient[]>();
const dripping: NodeJS.Timeout[] = [];
let slowSinceMs = 0;

beforeAll(async () => {
  await startPlane();
  await startSlowClients();
});

afterAll(async () => {
  for (const timer of dripping) clearInterval(timer);
  for (const clients of slow.values()) for (const client of clients) client.destroy();
  await plane.stop();
});

async function startPlane(): Promise<void> {
  plane = await startControlPlane();
  quick = await plane.publish("quick", policyOf(`return {"cluster_id": None}`));
  for (let warmUp = 0; warmUp < 20; warmUp += 1) await allocationMs();
  beforeMiB = rssMiB(plane.pid);
}

/** Time that an allocation on a socket of its own takes. */
async function allocationMs(): Promise<number> {
  const beginMs = performance.now();
  const [reply] = await exchange(plane.wsUrl, [requestOf(quick, 1)]);
  expect(reply).toMatchObject({ success: true, request_id: 1 });
  return performance.now() - beginMs;
}

function requestOf(policy: string, id: number, inputs: unknown = {}): string {
  return JSON.stringify({ request_id: id, policy_rule_uri: policy, inputs });
}

/** They start first and are looked at last. */
async function startSlowClients(): Promise<void> {
  slowSinceMs = performance.now();
  const connected = () => RawSocket.connect(plane.ports.ws);
  slow.set("silent", await twenty(connected));
  slow.set("silent on REST", await twenty(() => RawSocket.connect(plane.ports.http)));
  const upgrading = await twenty(connected);
  for (const client of upgrading) {
    drip(client, `GET / HTTP/1.1\r\nhost: 127.0.0.1:${plane.ports.ws}\r\n`, "x-more: 1\r\n");
  }
  slow.set("upgrade for ever", upgrading);
  const halves = await upgraded(20);
  for (const client of halves) drip(client, frameHead(OPCODE.text, MIB), "x");
  slow.set("half a frame", halves);
  slow.set("unfinished message", await twenty(startUnfinished));
}

function twenty<T>(make: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: 20 }, make));
}

function upgraded(count: number): Promise<RawSocket[]> {
  return Promise.all(Array.from({ length: count }, () => RawSocket.upgraded(plane.ports.ws)));
}

/** Keeps to the rules and answers pings, but its message never ends. */
async function startUnfinished(): Promise<SlowClient> {
  const socket = new WebSocket(plane.wsUrl);
  await once(socket, "open");
  socket.send("x".repeat(MIB), { fin: false });
  return {
    get isClosed() {
      return socket.readyState === WebSocket.CLOSED;
    },
    destroy: () => socket.terminate(),
  };
}

/** Sends the head at once, then one more piece every 200 ms, for ever. */
function drip(client: RawSocket, head: Buffer | string, piece: string): void {
  void client.send(head);
  dripping.push(setInterval(() => void client.send(piece), 200));
}

function expectGone(name: string, limitMs: number): Promise<void> {
  const clients = slow.get(name) ?? [];
  expect(clients).toHaveLength(20);
  return until(() => clients.every((client) => client.isClosed), {
    limitMs: Math.max(0, limitMs - (performance.now() - slowSinceMs)),
    what: () => `the clients to be thrown out: ${name}`,
  });
}

/** Evaluations that run or wait. */
async function underWay(): Promise<number> {
  const { data } = JSON.parse(await (await fetch(`${plane.restUrl}/readyz`)).text());
  return data.sandbox.running + data.sandbox.queued;
}

describe("hostile WebSocket clients", () => {
  it("a client that floods pings and reads no pong is cut off", async () => {
    const client = await RawSocket.upgraded(plane.ports.ws);
    client.stopReading();
    const pings = Buffer.concat(Array(8_000).fill(frame(OPCODE.ping, Buffer.alloc(125))));
    for (let count = 0; count < 50 && !client.isClosed; count += 1) await client.send(pings);
    await until(() => client.isClosed, { what: () => "the flood to be cut off" });
    expect(await allocationMs()).toBeLessThan(PROMPT_MS);
  });

  it("a client that floods pings and reads the pongs delays nobody much", async () => {
    const client = await RawSocket.upgraded(plane.ports.ws);
    let flooding = true;
    const pings = Buffer.concat(Array(50).fill(frame(OPCODE.ping, "x")));
    const flood = (async () => {
      while (flooding && !client.isClosed) {
        await client.send(pings);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let count = 0; count < 10; count += 1) {
      expect(await allocationMs()).toBeLessThan(PROMPT_MS);
    }
    flooding = false;
    await flood;
    client.destroy();
  });

  it("frames of 16 MiB and a byte close with 1009 before their bytes are taken", async () => {
    const clients = await upgraded(16);
    for (const client of clients) await client.send(frameHead(OPCODE.text, 16 * MIB + 1));
    await Promise.all(clients.map((client) => client.closed()));
    expect(clients.map(({ received }) => closeCode(received))).toEqual(Array(16).fill(1009));
  });

  it("fragments without end close with 1009 past 16 MiB, and with 1008 when they are too many", async () => {
    const clients = await upgraded(8);
    const piece = frame(OPCODE.continuation, Buffer.alloc(MIB, "x"), false);
    const sendFragments = async (client: RawSocket) => {
      await client.send(frame(OPCODE.text, "[", false));
      for (let count = 0; count < 64 && !client.isClosed; count += 1) await client.send(piece);
      await client.closed();
    };
    await Promise.all(clients.map(sendFragments));
    expect(clients.map(({ received }) => closeCode(received))).toEqual(Array(8).fill(1009));
    for (const text of ["x", ""]) {
      const client = await RawSocket.upgraded(plane.ports.ws);
      await client.send(frame(OPCODE.text, "[", false));
      await client.send(Buffer.concat(Array(20_000).fill(frame(OPCODE.continuation, text, false))));
      await client.closed();
      expect(closeCode(client.received)).toBe(1008);
    }
    expect(await allocationMs()).toBeLessThan(PROMPT_MS);
  });

  it("2,000 idle sockets are held, and delay nobody", async () => {
    const sockets = Array.from({ length: 2_000 }, () => new WebSocket(plane.wsUrl));
    await until(() => sockets.every(({ readyState }) => readyState === WebSocket.OPEN), {
      limitMs: 30_000,
      what: () => "all sockets to be open",
    });
    for (let count = 0; count < 10; count += 1) {
      expect(await allocationMs()).toBeLessThan(PROMPT_MS);
    }
    for (const socket of [sockets[0], sockets.at(-1)]) {
      const reply = new Promise((resolve) => socket?.once("message", (data) => resolve(`${data}`)));
      socket?.send(requestOf(quick, 7));
      expect(JSON.parse(String(await reply))).toMatchObject({ success: true, request_id: 7 });
    }
    for (const socket of sockets) socket.terminate();
  });

  it(
    "clients that never finish their upgrade are cut off",
    async () => {
      for (const name of ["silent", "silent on REST", "upgrade for ever"]) {
        await expectGone(name, UPGRADE_LIMIT_MS);
      }
    },
    UPGRADE_LIMIT_MS + 5_000,
  );

  it("clients whose message never ends are cut off, whether they answer pings or not", async () => {
    for (const name of ["half a frame", "unfinished message"]) {
      await expectGone(name, MESSAGE_LIMIT_MS);
    }
  });

  it("and after all of them the server is as quick as before, and as small", async () => {
    for (let count = 0; count < 10; count += 1) {
      expect(await allocationMs()).toBeLessThan(PROMPT_MS);
    }
    expect(rssMiB(plane.pid) - beforeMiB).toBeLessThan(MAX_GROWTH_MIB);
  });
});

// What these clients do to a server stays: they get one of their own.
describe("what one WebSocket client may have held for it", () => {
  beforeAll(async () => {
    await plane.stop();
    await startPlane();
  });

  it("clients that ask for 400 MB of replies and read nothing do not grow the server", async () => {
    const text = `return {"cluster_id": None, "reasons": ["x" * 100_000]}`;
    const policy = await plane.publish("talker", policyOf(text));
    const clients = await upgraded(4);
    for (const client of clients) {
      client.stopReading();
      for (let id = 0; id < 1_000; id += 1)
        void client.send(frame(OPCODE.text, requestOf(policy, id)));
    }
    await until(async () => (await underWay()) > 0, { what: () => "the requests to arrive" });
    await until(async () => (await underWay()) === 0, {
      limitMs: 60_000,
      what: () => "the server to have answered what it can",
    });
    expect(await allocationMs()).toBeLessThan(PROMPT_MS);
    expect(rssMiB(plane.pid) - beforeMiB).toBeLessThan(MAX_UNREAD_MIB);
    for (const client of clients) client.destroy();
  });

  it("a client that sends 1,000 requests and never reads has 64 of them worked on at a time", async () => {
    const policy = await plane.publish("sleeper", policyOf("time.sleep(1)"));
    const client = await RawSocket.upgraded(plane.ports.ws);
    client.stopReading();
    const requests = Array.from({ length: 1_000 }, (_, id) =>
      frame(OPCODE.text, requestOf(policy, id)),
    );
    await client.send(Buffer.concat(requests));
    await until(async () => (await underWay()) >= MAX_IN_FLIGHT, { what: () => "the requests" });
    const counted = await underWay();
    client.destroy();
    await until(async () => (await underWay()) === 0, { what: () => "the requests to be dropped" });
    expect(counted).toBeLessThanOrEqual(MAX_IN_FLIGHT);
  });

  it("a client cannot have more than a few large requests held for it at a time", async () => {
    const policy = await plane.publish("waiter", policyOf("time.sleep(5)"));
    const client = await RawSocket.upgraded(plane.ports.ws);
    const large = frame(OPCODE.text, requestOf(policy, 1, "x".repeat(15 * MIB)));
    const sent = Promise.all(Array.from({ length: 16 }, () => client.send(large)));
    const areHeld = await until(async () => (await underWay()) > 3, {
      limitMs: 6_000,
      what: () => "more than three of them to be held",
    }).then(
      () => true,
      () => false,
    );
    client.destroy();
    await sent;
    await until(async () => (await underWay()) === 0, { what: () => "the requests to go" });
    expect(areHeld, "more than 45 MiB of requests are held for one socket").toBe(false);
  });
});
