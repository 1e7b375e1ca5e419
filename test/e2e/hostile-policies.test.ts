import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerOf, exchange, post } from "../support/client.ts";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";

let controlPlane: ControlPlaneProcess;

beforeAll(async () => {
  controlPlane = await startControlPlane({
    env: {
      BERTH_POLICY_WALL_MS: "8000",
      BERTH_POLICY_CPU_MS: "2000",
      BERTH_POLICY_MEMORY_MIB: "64",
    },
  });
  await publish("good", 'return {"cluster_id": None}');
});

afterAll(() => controlPlane.stop());

/** Publishes a policy whose eval has this body. */
async function publish(name: string, body: string): Promise<string> {
  const code = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        ${body.replaceAll("\n", "\n        ")}
`;
  return controlPlane.publish(name, code);
}

const request = (uri: string) => JSON.stringify({ adhoc: true, policy_rule_uri: uri, inputs: {} });

/** Name, body of eval, reason of the error, what its message tells. */
const HOSTILE: readonly [string, string, string, RegExp][] = [
  ["throws", 'raise KeyError("gpu")', "POLICY_FAILED", /raised KeyError: 'gpu' \(function.py:5\)/],
  [
    "loops-for-ever",
    "while True: pass",
    "POLICY_TIMEOUT",
    /took longer than its (cpu limit of 2000|wall limit of 8000) ms/,
  ],
  [
    "sleeps",
    "import time\ntime.sleep(60)",
    "POLICY_TIMEOUT",
    /took longer than its wall limit of 8000 ms/,
  ],
  [
    "swallows-the-interrupt",
    "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "POLICY_TIMEOUT",
    /took longer than its (cpu|wall) limit/,
  ],
  [
    "eats-memory",
    "x = []\nwhile True: x.append(bytearray(1 << 20))",
    "POLICY_FAILED",
    /MemoryError|memory/,
  ],
  [
    "fills-the-file-system",
    'with open("/tmp/x", "wb") as f:\n    while True: f.write(b"x" * (1 << 20))',
    "POLICY_FAILED",
    /OSError|No space/,
  ],
  ["recurses", "def f(): return f()\nreturn f()", "POLICY_FAILED", /RecursionError/],
  [
    "nests",
    "x = []\nfor _ in range(100000): x = [x]\nreturn x",
    "POLICY_FAILED",
    /nested too deeply|recursion/i,
  ],
  [
    "returns-nan",
    'return {"cluster_id": None, "score": float("nan")}',
    "POLICY_FAILED",
    /result\.score: NaN/,
  ],
  ["returns-bytes", 'return {"cluster_id": b"x"}', "POLICY_FAILED", /result\.cluster_id: bytes/],
  [
    "returns-170000-nulls",
    "return [None] * 170000",
    "POLICY_FAILED",
    /result: expected at most 10000 placements, got 170000/,
  ],
  ["returns-a-set", "return {1, 2}", "POLICY_FAILED", /result: set is not valid JSON/],
  ["returns-a-cycle", "x = {}\nx['x'] = x\nreturn x", "POLICY_FAILED", /result\.x: refers back/],
  ["returns-an-object", "return object()", "POLICY_FAILED", /result: object is not valid JSON/],
  [
    "returns-text",
    'return "here"',
    "POLICY_FAILED",
    /expected an object, a list or null, got string/,
  ],
  [
    "returns-a-stranger",
    'return {"cluster_id": "nowhere"}',
    "POLICY_FAILED",
    /nowhere is not one of the candidate/,
  ],
  [
    "returns-too-much",
    'return {"cluster_id": None, "x": "y" * (2 << 20)}',
    "POLICY_FAILED",
    /at most \d+ are allowed/,
  ],
  ["exits", "import sys\nsys.exit(3)", "POLICY_FAILED", /raised SystemExit: 3/],
  ["aborts", "import os\nos.abort()", "POLICY_FAILED", /AttributeError|crashed/],
  [
    "kills-its-interpreter",
    "import signal\nsignal.raise_signal(6)",
    "POLICY_FAILED",
    /crashed|raised/,
  ],
];

describe("policies that misbehave", () => {
  it.each(HOSTILE)("one that %s is answered, on HTTP", { timeout: 30_000 }, async (...row) => {
    const [name, body, reason, message] = row;
    const answer = await answerOf(
      post(controlPlane, "/allocate", request(await publish(name, body))),
    );
    expect(answer).toMatchObject({ success: false, reason });
    expect(answer.message).toMatch(message);
    const after = await answerOf(post(controlPlane, "/allocate", request("good:1-bench")));
    expect(after).toMatchObject({ success: true });
  });

  it("are answered on one WebSocket, which stays usable", { timeout: 120_000 }, async () => {
    const uris = await Promise.all(HOSTILE.map(([name, body]) => publish(name, body)));
    const frames = [...uris, "good:1-bench"].map(request);
    const replies = await exchange(controlPlane.wsUrl, frames);
    for (const [index, [, , reason, message]] of HOSTILE.entries()) {
      expect(replies[index]).toMatchObject({ success: false, reason });
      expect((replies[index] as { message: string }).message).toMatch(message);
    }
    expect(replies.at(-1)).toMatchObject({ success: true });
  });

  it.each<[string, (frame: string) => Promise<unknown>]>([
    ["HTTP", (frame) => answerOf(post(controlPlane, "/allocate", frame))],
    ["a WebSocket", async (frame) => (await exchange(controlPlane.wsUrl, [frame]))[0]],
  ])(
    "one that prints 1 GB is answered on %s, with the beginning of its log",
    {
      timeout: 30_000,
    },
    async (_transport, ask) => {
      const uri = await publish("prints", 'for _ in range(1024): print("x" * (1 << 20))');
      const answer = (await ask(request(uri))) as { decision_id: string };
      const decision = await answerOf(
        fetch(`${controlPlane.restUrl}/decisions/${answer.decision_id}`),
      );
      expect(String(decision.data.policy_log)).toMatch(/^x{1000}/);
      expect(String(decision.data.policy_log).length).toBeLessThanOrEqual(16 * 1024);
    },
  );

  it("tuples become arrays", async () => {
    const uri = await publish("tuple", 'return {"cluster_id": None, "pair": (1, (2, 3))}');
    const answer = await answerOf(post(controlPlane, "/allocate", request(uri)));
    expect(answer).toMatchObject({ success: true, data: { pair: [1, [2, 3]] } });
  });
});
