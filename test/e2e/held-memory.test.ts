import http from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exchange } from "../support/client.ts";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { until } from "../support/fleet.ts";
import { rssMiB } from "../support/process-stats.ts";
import { frame, OPCODE, RawSocket } from "../support/raw-socket.ts";

const MIB = 1024 * 1024;
/** Heap that Node takes for itself in a container of 1 GiB. */
const HEAP_MIB = 512;
/**
 * What 15 sockets that read none of 900 replies of 1 MB may add: 128 MiB of replies, and garbage of making them.
 * Measured: 330 MiB, without a bound 1,400 MiB.
 */
const MAX_UNREAD_MIB = 600;

const policyOf = (body: string) => `import time
class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        ${body}
`;

let plane: ControlPlaneProcess;

beforeAll(async () => {
  plane = await startControlPlane({
    env: { NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}` },
  });
});

afterAll(() => plane.stop());

function requestOf(policy: string, id: number, inputs: unknown = {}): string {
  return JSON.stringify({ request_id: id, policy_rule_uri: policy, inputs });
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** The answer may come before all of the body has left; what the connection does then is of no interest. */
function post(body: Buffer): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const request = http.request(`${plane.restUrl}/allocate`, {
    agent: false,
    method: "POST",
    headers: { "content-type": "application/json", "content-length": body.length },
  });
  request.on("error", reject);
  request.on("response", async (response) => {
    let text = "";
    for await (const piece of response.setEncoding("utf8")) text += piece;
    resolve({ status: response.statusCode ?? 0, text });
  });
  request.end(body);
  return promise;
}

async function isHealthy(): Promise<boolean> {
  return (await fetch(`${plane.restUrl}/healthz`)).ok;
}

describe("what clients may have held for them, in a heap of 512 MiB", () => {
  it("130 bodies of 16 MiB are answered, and those for which there is no room are told so", async () => {
    const policy = await plane.publish("sleeper", policyOf("time.sleep(3)"));
    // One character that is not Latin-1 doubles what the text takes.
    const body = Buffer.from(requestOf(policy, 1, `€${"x".repeat(15 * MIB)}`));
    const answers = await Promise.all(Array.from({ length: 130 }, () => post(body)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    for (const { text } of refused) {
      expect(JSON.parse(text)).toMatchObject({ success: false, reason: "OVERLOADED" });
    }
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    expect([...new Set(answers.map(({ status }) => status))].sort()).toEqual([200, 429]);
    expect(await isHealthy()).toBe(true);
  });

  it("a middling request does not wait for large ones that all take their time", async () => {
    const policy = await plane.publish("waiter", policyOf("time.sleep(20)"));
    const quick = await plane.publish("quick", policyOf(`return {"cluster_id": None}`));
    const hogs = await Promise.all(
      Array.from({ length: 4 }, () => RawSocket.upgraded(plane.ports.ws)),
    );
    const large = frame(OPCODE.text, requestOf(policy, 1, "x".repeat(15 * MIB)));
    for (const hog of hogs) for (let count = 0; count < 2; count += 1) void hog.send(large);
    await until(async () => (await underWay()) === 3, { what: () => "three of them to be held" });
    const [reply] = await exchange(plane.wsUrl, [requestOf(quick, 2, "x".repeat(100_000))]);
    expect(reply).toMatchObject({ success: true, request_id: 2 });
    expect(await underWay()).toBe(3);
    for (const hog of hogs) hog.destroy();
    await until(async () => (await underWay()) === 0, { what: () => "the hogs to be dropped" });
  });
});

describe("requests of several sizes that a client pipelines without request_id", () => {
  it("are all answered, in their order", async () => {
    const numbered = `return {"cluster_id": None, "reasons": [str(input_data["inputs"]["n"])]}`;
    const policy = await plane.publish("numbered", policyOf(numbered));
    const requests = Array.from({ length: 105 }, (_, n) => {
      const inputs = { n, pad: n < 5 ? "x".repeat(1_000_000) : "" };
      return JSON.stringify({ policy_rule_uri: policy, inputs });
    });
    const replies = (await exchange(plane.wsUrl, requests)) as { data?: { reasons?: string[] } }[];
    expect(replies.map((reply) => reply.data?.reasons?.[0])).toEqual(
      requests.map((_, n) => String(n)),
    );
  });
});

// Memory is measured on a server that nothing has been asked of.
describe("what clients may leave unread", () => {
  beforeAll(async () => {
    await plane.stop();
    plane = await startControlPlane();
  });

  it("sockets that read none of 900 MB of replies are cut off, the one with most first", async () => {
    const policy = await plane.publish(
      "talker",
      policyOf(`return {"cluster_id": None, "reasons": ["x" * 1_000_000]}`),
    );
    await exchange(plane.wsUrl, [requestOf(policy, 1)]);
    const beforeMiB = rssMiB(plane.pid);
    const clients = await Promise.all(
      Array.from({ length: 15 }, () => RawSocket.upgraded(plane.ports.ws)),
    );
    let mostMiB = 0;
    for (const client of clients) {
      client.stopReading();
      for (let id = 0; id < 60; id += 1)
        void client.send(frame(OPCODE.text, requestOf(policy, id)));
    }
    await until(async () => (await underWay()) > 0, { what: () => "the requests to arrive" });
    await until(
      async () => {
        mostMiB = Math.max(mostMiB, rssMiB(plane.pid) - beforeMiB);
        return (await underWay()) === 0;
      },
      { limitMs: 60_000, what: () => "the server to have answered what it can" },
    );
    expect(mostMiB).toBeLessThan(MAX_UNREAD_MIB);
    expect(await isHealthy()).toBe(true);
    for (const client of clients) client.destroy();
  });
});

/** Evaluations that run or wait. */
async function underWay(): Promise<number> {
  const { data } = JSON.parse(await (await fetch(`${plane.restUrl}/readyz`)).text());
  return data.sandbox.running + data.sandbox.queued;
}
