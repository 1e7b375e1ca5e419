import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerOf, exchange, post } from "../support/client.ts";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { cpuSeconds } from "../support/process-stats.ts";

/** Longest time that anybody else may have to wait, in ms. */
const MAX_WAIT_MS = 1_000;
const PROBE_INTERVAL_MS = 10;
const SOURCE = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        return None
`;

let controlPlane: ControlPlaneProcess;
let policy: string;

beforeAll(async () => {
  controlPlane = await startControlPlane();
  policy = await controlPlane.publish("nothing", SOURCE);
});

afterAll(() => controlPlane.stop());

function onSocket(frame: string) {
  const answer = async () => (await exchange(controlPlane.wsUrl, [frame]))[0];
  return watched(answer());
}

function onHttp(frame: string) {
  return watched(answerOf(post(controlPlane, "/allocate", frame)));
}

/**
 * An answer, and how long `/healthz` took at most until it was there, in ms. What it took beyond the CPU time that
 * the control-plane used meanwhile is other programs' doing: tests share the machine.
 */
async function watched(work: Promise<unknown>): Promise<{ answer: unknown; waitMs: number }> {
  const cpuBefore = cpuSeconds(controlPlane.pid);
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  let waitMs = 0;
  while (!done) {
    const begunAt = performance.now();
    await (await fetch(`${controlPlane.restUrl}/healthz`)).arrayBuffer();
    waitMs = Math.max(waitMs, performance.now() - begunAt);
    await sleep(PROBE_INTERVAL_MS);
  }
  const answer = await ended;
  const cpuMs = (cpuSeconds(controlPlane.pid) - cpuBefore) * 1_000;
  return { answer, waitMs: Math.min(waitMs, cpuMs) };
}

describe("one frame of 16 MiB", () => {
  it.each<[string, () => string, RegExp]>([
    [
      "of 8 million nested levels",
      () => "[".repeat(8_000_000) + "]".repeat(8_000_000),
      /^the request(\[0\])+.*: nested deeper than 128 levels of arrays and objects$/,
    ],
    [
      "of 8 million inputs",
      () => `{"policy_rule_uri":"nope","inputs":[${"0,".repeat(8_000_000)}1]}`,
      /^inputs\[\d+\]: the request has more than 500000 values and keys$/,
    ],
    [
      "of 4 million values to select by",
      () =>
        `{"policy_rule_uri":"${policy}","inputs":1,"filter":{"variable":"id","operator":"IN","value":[${"1.0,".repeat(4_000_000)}1]}}`,
      /^filter\.value\[\d+\]: the request has more than 500000 values and keys$/,
    ],
    [
      "of as many values and keys as are taken, for an unknown policy",
      () => {
        const members = Array.from({ length: 249_000 }, (_, n) => `"k${n}":1.0`);
        return `{"policy_rule_uri":"nope","inputs":{${members}}}`;
      },
      /^Policy rule with URI 'nope' not found\.$/,
    ],
    [
      "of an unknown policy's name",
      () => JSON.stringify({ policy_rule_uri: "x".repeat(16_000_000), inputs: 1 }),
      /^Policy rule with URI 'x{200}…' not found\.$/,
    ],
  ])(
    "%s holds up nobody else, and gets the same answer everywhere",
    async (_name, frame, message) => {
      const text = frame();
      const replies = [await onSocket(text), await onHttp(text)];
      for (const { answer, waitMs } of replies) {
        expect(answer).toMatchObject({ success: false, message: expect.stringMatching(message) });
        expect(waitMs).toBeLessThan(MAX_WAIT_MS);
      }
    },
  );
});
