import { expect, test } from "vitest";
import type { HostClient, HostReply } from "../request.ts";
import { answerHostCall } from "./host-calls.ts";

const LIMITS = { deadlineMs: 1_000, replyBytes: 1_000 };

async function ask(call: unknown, clients: Record<string, HostClient>, limits = LIMITS) {
  const text = typeof call === "string" ? call : JSON.stringify(call);
  const signal = new AbortController().signal;
  return JSON.parse(await answerHostCall(text, clients, { limits, signal }));
}

function answering(reply: HostReply): Record<string, HostClient> {
  return { c: { methods: { m: () => reply }, callable: () => reply } };
}

const CALL = { client: "c", method: "m", args: [], kwargs: {} };

test("a value's JSON text passes without being parsed", async () => {
  const signal = new AbortController().signal;
  const clients = answering({ kind: "value", json: "[10.0,9223372036854775809]" });
  const reply = await answerHostCall(JSON.stringify(CALL), clients, { limits: LIMITS, signal });
  expect(reply).toBe('{"kind":"value","value":[10.0,9223372036854775809]}');
});

test("a tuple and a call of the client itself are answered", async () => {
  const clients = answering({ kind: "tuple", items: ["true", "{}"] });
  expect(await ask({ ...CALL, method: null }, clients)).toEqual({
    kind: "tuple",
    items: [true, {}],
  });
});

test.each([
  ["text that is not JSON", "{"],
  ["an unknown client", { ...CALL, client: "nobody" }],
  ["an inherited name", { ...CALL, client: "__proto__" }],
  ["an inherited method", { ...CALL, method: "constructor" }],
  ["arguments that are no list", { ...CALL, args: {} }],
  [
    "deep arguments",
    `{"client":"c","method":"m","args":${"[".repeat(90)}${"]".repeat(90)},"kwargs":{}}`,
  ],
  ["long arguments", { ...CALL, args: ["x".repeat(300_000)] }],
])("%s raises in the policy", async (_name, call) => {
  expect((await ask(call, answering({ kind: "value", json: "1" }))).kind).toBe("raise");
});

test("a method that throws, is late or says too much raises in the policy", async () => {
  const throwing: HostClient = {
    methods: {
      m: () => {
        throw new Error("boom");
      },
    },
  };
  expect(await ask(CALL, { c: throwing })).toMatchObject({
    type: "RuntimeError",
    message: "c.m failed: boom",
  });
  const silent: HostClient = { methods: { m: () => new Promise<HostReply>(() => undefined) } };
  const late = await ask(CALL, { c: silent }, { ...LIMITS, deadlineMs: 20 });
  expect(late).toMatchObject({ kind: "raise", type: "TimeoutError" });
  const long = answering({ kind: "value", json: JSON.stringify("x".repeat(2_000)) });
  expect(await ask(CALL, long)).toMatchObject({ kind: "raise", type: "RuntimeError" });
});
