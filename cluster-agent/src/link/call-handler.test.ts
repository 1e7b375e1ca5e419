import { type Command, CommandSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { callHandler, MAX_ANSWER_BYTES, type OrderedRequest, type OwnApi } from "./call-handler.ts";

const never = new AbortController().signal;
const fence = { storeId: "s1", controllerTerm: "3" };

async function carryOut(
  api: OwnApi,
  call: { method: string; path: string; bodyJson?: string },
  context: { resumed?: boolean; signal?: AbortSignal } = {},
) {
  const order: Command["order"] = create(CommandSchema, {
    order: { case: "call", value: call },
  }).order;
  const { resumed = false, signal = never } = context;
  const given = { commandId: "cmd-1", resumed, memory: {}, fence, timeLeftMs: 10_000, signal };
  return callHandler(api)(order, given);
}

const answering = (bodyJson: string, status = 200) => {
  const asked: OrderedRequest[] = [];
  const api: OwnApi = async (request) => {
    asked.push(request);
    return { status, bodyJson };
  };
  return { api, asked };
};

describe("a call", () => {
  it("gives the status and the body as it was written, with the fence of who gave the order", async () => {
    const { api, asked } = answering('{"a":10.0,"b":12345678901234567890}', 201);
    const call = { method: "POST", path: "/cluster-actions/x", bodyJson: '{"c":1.0}' };
    expect(await carryOut(api, call)).toEqual({
      kind: "result",
      json: '{"status":201,"body":{"a":10.0,"b":12345678901234567890}}',
      memory: {},
    });
    expect(asked).toEqual([{ ...call, fence }]);
  });

  it("gives null for an answer without a body", async () => {
    const { api } = answering("", 204);
    expect(await carryOut(api, { method: "GET", path: "/x" })).toMatchObject({
      json: '{"status":204,"body":null}',
    });
  });

  it.each([
    [{ method: "TRACE", path: "/x" }, /call.method: expected one of GET/],
    [{ method: "GET", path: "http://elsewhere/x" }, /call.path: expected/],
    [{ method: "GET", path: "//elsewhere/x" }, /call.path: expected/],
    [{ method: "GET", path: "/with space" }, /call.path: expected/],
    [{ method: "GET", path: `/${"x".repeat(2_048)}` }, /call.path: expected/],
    [{ method: "POST", path: "/x", bodyJson: `"${"x".repeat(1024 * 1024)}"` }, /call.body_json/],
  ])("that is none is refused: %o", async (call, message) => {
    const { api, asked } = answering("{}");
    expect(await carryOut(api, call)).toMatchObject({
      kind: "refusal",
      reason: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
    expect(asked).toEqual([]);
  });

  it("whose answer is too large says how large, and that it was answered", async () => {
    const { api } = answering(`"${"x".repeat(MAX_ANSWER_BYTES)}"`);
    expect(await carryOut(api, { method: "GET", path: "/blocks" })).toMatchObject({
      kind: "refusal",
      reason: "OVERLOADED",
      message: expect.stringMatching(/^it was answered with status 200 and 10486\d\d bytes/),
    });
  });

  it("that was begun by a former process is made again when that does no harm", async () => {
    const { api, asked } = answering("{}");
    const action = { method: "POST", path: "/executeAction", bodyJson: '{"wait":false}' };
    expect(await carryOut(api, action, { resumed: true })).toMatchObject({ kind: "result" });
    expect(asked).toMatchObject([{ bodyJson: '{"wait":false,"idempotency_key":"cmd-1"}' }]);
  });

  it("that was begun by a former process is made until it is known what became of it", async () => {
    let times = 0;
    const api: OwnApi = async () => {
      times += 1;
      return { status: times < 3 ? 503 : 200, bodyJson: "{}" };
    };
    const lease = { method: "POST", path: "/leases", bodyJson: '{"subject":"s"}' };
    expect(await carryOut(api, lease, { resumed: true })).toMatchObject({
      json: '{"status":200,"body":{}}',
    });
    times = 0;
    expect(await carryOut(api, lease)).toMatchObject({ json: '{"status":503,"body":{}}' });
  });

  it("that was begun by a former process is refused when nobody knows whether it ran", async () => {
    const { api, asked } = answering("{}");
    const renewal = { method: "POST", path: "/leases/l/renew", bodyJson: '{"ttl_ms":1000}' };
    expect(await carryOut(api, renewal, { resumed: true })).toMatchObject({
      kind: "refusal",
      reason: "CONFLICT",
      message: expect.stringMatching(/^POST \/leases\/l\/renew .* nobody knows whether it ran/),
    });
    expect(asked).toEqual([]);
  });

  it("is answered when its time is over, and left to the next start when the agent stops", async () => {
    const hanging: OwnApi = (_request, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    const get = { method: "GET", path: "/blocks" };
    expect(await carryOut(hanging, get, { signal: AbortSignal.timeout(10) })).toMatchObject({
      kind: "refusal",
      reason: "DEADLINE_EXCEEDED",
    });
    const stop = new AbortController();
    const stopped = carryOut(hanging, get, { signal: stop.signal });
    stop.abort();
    await expect(stopped).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  });
});
