import { hostname } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerOf, exchange, post } from "../support/client.ts";
import { berth, type Fleet, startFleet } from "../support/fleet.ts";

const POLICY = "least-loaded:1.0.0-stable";
const NODE = hostname().toLowerCase();

let fleet: Fleet;

/** A filter of so many levels. */
function nested(levels: number): string {
  const leaf = '{"variable":"id","operator":"==","value":"x"}';
  const open = '{"logicalOperator":"AND","conditions":[';
  return `${open.repeat(levels)}${leaf}${"]}".repeat(levels)}`;
}

/** Inputs of so many levels. */
const levels = (count: number) => `{"x":${"[".repeat(count)}${"]".repeat(count)}}`;

beforeAll(async () => {
  fleet = await startFleet();
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
});

afterAll(() => fleet.stop());

describe("bad input", () => {
  const good = JSON.stringify({ adhoc: true, policy_rule_uri: POLICY, inputs: {} });
  const table: readonly [string, string, string][] = [
    ["text that is not JSON", "not json", "not JSON"],
    ["an array", "[]", "expected a JSON object, got array"],
    ["no policy", '{"adhoc":true,"inputs":{}}', "Missing required fields: policy_rule_uri"],
    [
      "no inputs",
      `{"adhoc":true,"policy_rule_uri":"${POLICY}"}`,
      "Missing required fields: inputs",
    ],
    [
      "an unknown policy",
      '{"adhoc":true,"policy_rule_uri":"nope:1.0-stable","inputs":{}}',
      "Policy rule with URI 'nope:1.0-stable' not found.",
    ],
    [
      "a near miss",
      '{"adhoc":true,"policy_rule_uri":"least-loaded:1.0-stable","inputs":{}}',
      `Did you mean ${POLICY}?`,
    ],
    [
      "clusters of a wrong type",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"clusters":7}`,
      "clusters: expected an array, got number",
    ],
    [
      "an unknown operator",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"filter":{"variable":"id","operator":"~","value":1}}`,
      "Unsupported operator: ~",
    ],
    ["$where", `{"policy_rule_uri":"${POLICY}","inputs":{},"filter":{"$where":"1"}}`, "filter"],
    [
      "a filter of 40 nested levels",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"filter":${nested(40)}}`,
      "nested deeper than 32 levels",
    ],
    [
      "an unknown ranking policy",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"search":{"rankingPolicyRule":{"policyRuleURI":"nope:1-s"}}}`,
      "'nope:1-s' not found",
    ],
    [
      "parameters of a wrong type",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"parameters":[1]}`,
      "parameters: expected an object, got array",
    ],
    [
      "a request_id of a wrong type",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"request_id":{}}`,
      "request_id: expected text or a number",
    ],
    [
      "assume_seconds out of bounds",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"assume_seconds":-1}`,
      "assume_seconds: expected a number from 0 to 300",
    ],
    [
      "a hold of a wrong type",
      `{"policy_rule_uri":"${POLICY}","inputs":{},"hold":"yes"}`,
      "hold: expected",
    ],
    ["block mode", '{"input":{},"mode":"dry_run"}', "clusterAllocator"],
    [
      "10,000 nested levels",
      `{"policy_rule_uri":"${POLICY}","inputs":${"[".repeat(10_000)}${"]".repeat(10_000)}}`,
      "nest",
    ],
  ];

  it.each(table)("%s gets an answer that names it, on HTTP", async (_name, body, message) => {
    const reply = await post(fleet, "/allocate", body);
    expect(reply.status).toBeGreaterThanOrEqual(400);
    const answer = await answerOf(reply);
    expect(answer.success).toBe(false);
    expect(answer.message).toContain(message);
    expect(answer.error).toBe(answer.message);
  });

  it.each([
    ["port 8765", () => `ws://127.0.0.1:${fleet.ports.ws}`],
    ["/ws/allocate", () => `ws://127.0.0.1:${fleet.ports.http}/ws/allocate`],
  ])("gets answers on WebSocket %s in order, and the socket stays usable", async (_name, url) => {
    const frames = [...table.map(([, body]) => body), good];
    const replies = await exchange(url(), frames);
    for (const [index, [, , message]] of table.entries()) {
      expect(replies[index]).toMatchObject({
        success: false,
        message: expect.stringContaining(message),
      });
    }
    expect(replies.at(-1)).toMatchObject({ success: true, data: { cluster_id: "local" } });
  });

  it.each<[string, readonly string[], number, string]>([
    ["text that is not JSON", ["--inputs", "not json"], 2, "--inputs: expected a JSON object"],
    ["an array", ["--inputs", "[]"], 2, "--inputs: expected a JSON object"],
    ["parameters of a wrong type", ["--parameters", "[1]"], 2, "--parameters: expected a JSON"],
    ["an unknown policy", ["--policy", "nope:1.0-stable"], 1, "'nope:1.0-stable' not found"],
    ["a near miss", ["--policy", "least-loaded:1.0-stable"], 1, `Did you mean ${POLICY}?`],
    ["300 nested levels", ["--inputs", levels(300)], 1, "inputs.x[0]"],
    [
      "10,000 nested levels",
      ["--inputs", levels(10_000)],
      2,
      "--inputs: expected a JSON object or @file: nested too deeply",
    ],
  ])("%s gets an answer that names it, on the command line", async (_name, args, code, message) => {
    const result = await berth(fleet, "allocate", "--policy", POLICY, ...args);
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toMatch(/^error: [^\n]+\n$/);
    expect(result.stderr).toContain(message);
  });

  const published = (field: string, json: string) =>
    `{"name":"bad","version":"1","release_tag":"t","code":"class AIOSv1PolicyRule: pass","${field}":${json}}`;

  it.each([
    ["/clusters/query", '{"$where":"1"}', "$where"],
    ["/clusters/query", '{"query":{},"id":"local"}', "id: unknown field beside query"],
    ["/policy/query", '{"query":{},"name":"x"}', "name: unknown field beside query"],
    ["/policy", published("policy_parameters", '{"a":1e999}'), "policy_parameters: a number is"],
    [
      "/policy",
      published("policy_settings", `{"a":${"[".repeat(64)}${"]".repeat(64)}}`),
      "policy_settings: expected at most 64 nested levels",
    ],
  ])("%s refuses %s and says why", async (route, body, message) => {
    const reply = await post(fleet, route, body);
    expect(reply.status).toBe(400);
    expect((await answerOf(reply)).message).toContain(message);
  });

  it("takes a bare filter where a query is expected", async () => {
    const answers = await Promise.all(
      ['{"id":"nope"}', '{"query":{"id":"nope"}}', '{"id":"local"}'].map(async (body) =>
        (await post(fleet, "/clusters/query", body)).json(),
      ),
    );
    expect(answers).toMatchObject([[], [], [{ id: "local" }]]);
  });

  it("asks for a policy on the command line", async () => {
    const result = await berth(fleet, "allocate");
    expect(result).toMatchObject({ code: 2, stdout: "" });
    expect(result.stderr).toContain("--policy <uri>");
  });

  it("refuses a body that is not UTF-8 text, on HTTP", async () => {
    const [head = "", tail = ""] = good.split('"inputs":{}');
    const body = Buffer.concat([
      Buffer.from(`${head}"inputs":{"x":"`),
      Buffer.of(0xff, 0xc3),
      Buffer.from(`"}${tail}`),
    ]);
    for (const route of ["/allocate", "/policy", "/clusters"]) {
      const url = `http://127.0.0.1:${fleet.ports.http}${route}`;
      const headers = { "content-type": "application/json" };
      const reply = await fetch(url, { method: "POST", body, headers });
      expect(reply.status).toBe(400);
      expect(await answerOf(reply)).toMatchObject({
        success: false,
        reason: "INVALID_ARGUMENT",
        message: "the request body is not UTF-8 text",
      });
    }
  });

  it("closes a socket with 1007 when a text frame is not UTF-8", async () => {
    const sent = exchange(`ws://127.0.0.1:${fleet.ports.ws}`, [Buffer.of(0x22, 0xff, 0x22)]);
    await expect(sent).rejects.toThrow("closed with 1007");
  });

  it("runs a catastrophic pattern in linear time, on every transport", async () => {
    const filter = { variable: "id", operator: "LIKE", value: "(a+)+$" };
    const body = JSON.stringify({ policy_rule_uri: POLICY, inputs: {}, filter });
    const http = await answerOf(post(fleet, "/allocate", body));
    const [socket] = await exchange(`ws://127.0.0.1:${fleet.ports.ws}`, [body]);
    for (const answer of [http, socket]) {
      expect(answer).toMatchObject({ success: true, data: { unschedulable: true } });
    }
    const query = { query: { id: { $regex: "(a+)+$" } } };
    expect((await post(fleet, "/clusters/query", JSON.stringify(query))).status).toBe(200);
    const where = { query: { $where: "1" } };
    expect((await post(fleet, "/clusters/query", JSON.stringify(where))).status).toBe(400);
  });

  it("names unknown clusters in warnings and still runs the policy on an empty pool", async () => {
    const body = { policy_rule_uri: POLICY, inputs: {}, clusters: ["ghost"] };
    const answer = await answerOf(post(fleet, "/allocate", JSON.stringify(body)));
    expect(answer).toMatchObject({
      success: true,
      data: { unschedulable: true },
      warnings: ["clusters: there is no cluster ghost"],
    });
  });

  it("refuses foreign origins and hosts on every transport", async () => {
    const foreign = { origin: "https://evil.example" };
    expect((await post(fleet, "/allocate", good, foreign)).status).toBe(403);
    const url = `ws://127.0.0.1:${fleet.ports.ws}`;
    await expect(exchange(url, [good], foreign)).rejects.toThrow("403");
    await expect(exchange(url, [good], { host: "evil.example" })).rejects.toThrow("403");
    await expect(exchange(url, [good], { origin: "http://localhost:5173" })).resolves.toHaveLength(
      1,
    );
  });

  it("closes a socket with 1009 when a frame is larger than 16 MiB", async () => {
    const frame = `"${"x".repeat(16 * 1024 * 1024)}"`;
    const sent = exchange(`ws://127.0.0.1:${fleet.ports.ws}`, [frame]);
    await expect(sent).rejects.toThrow("closed with 1009");
  });

  it("asks for a JSON content type", async () => {
    const reply = await post(fleet, "/allocate", good, { "content-type": "text/plain" });
    expect(reply.status).toBe(415);
    expect((await answerOf(reply)).message).toContain("content-type: application/json");
  });

  it.each([
    ["raises", "raise Exception('no capacity')", "raised Exception: no capacity (function.py:5)"],
    [
      "names a cluster that is not there",
      "return {'cluster_id': 'x'}",
      "x is not one of the candidate clusters",
    ],
    [
      "names a node that is not there",
      "return {'cluster_id': 'local', 'node_id': 'n'}",
      "cluster local has no node n",
    ],
    [
      "names a GPU that is not there",
      `return {'cluster_id': 'local', 'node_id': '${NODE}', 'gpus': ['7']}`,
      "has no GPU 7",
    ],
    ["returns NaN", "return {'cluster_id': float('nan')}", "NaN"],
    ["calls out", "import requests; requests.get('http://example.com')", "egress denied"],
  ])(
    "a policy that %s gets an error that says so, on every transport",
    async (what, line, message) => {
      const source = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        ${line}
`;
      const name = what.replaceAll(/\W/g, "-");
      const body = { name, version: "1", release_tag: "t", files: { "code/function.py": source } };
      expect((await post(fleet, "/policy", JSON.stringify(body))).status).toBe(200);
      const uri = `${name}:1-t`;
      const request = JSON.stringify({ policy_rule_uri: uri, inputs: {} });
      const reply = await post(fleet, "/allocate", request);
      expect(reply.status).toBe(400);
      const refused = {
        success: false,
        reason: "POLICY_FAILED",
        message: expect.stringContaining(message),
      };
      expect(await answerOf(reply)).toMatchObject(refused);
      const replies = await exchange(`ws://127.0.0.1:${fleet.ports.ws}`, [request, good]);
      expect(replies).toMatchObject([refused, { success: true }]);
      const byCommand = await berth(fleet, "allocate", "--policy", uri);
      expect(byCommand).toMatchObject({ code: 1, stderr: expect.stringContaining(message) });
    },
  );
});
