import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ArrivingBody } from "./arriving-body.ts";
import { MAX_BODY_BYTES, RequestBudget } from "./request-budget.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

let budget: RequestBudget;

beforeEach(() => {
  vi.useFakeTimers();
  budget = new RequestBudget();
});
afterEach(() => void vi.useRealTimers());

/** A body that comes at a steady rate. */
function arriving(declaredBytes: number | undefined) {
  const source = new PassThrough();
  const body = new ArrivingBody(source, { budget, declaredBytes });
  const read = { bytes: 0, refusal: undefined as unknown };
  body.stream.on("data", (piece: Buffer) => {
    read.bytes += piece.length;
  });
  body.stream.on("error", (error) => {
    read.refusal = error;
  });
  const come = async (bytes: number, seconds: number, onSecond: () => void = () => {}) => {
    for (let second = 0; second < seconds; second += 1) {
      for (let part = 0; part < 10; part += 1) {
        source.write(Buffer.alloc(bytes / 10));
        await vi.advanceTimersByTimeAsync(100);
      }
      onSecond();
    }
  };
  return { body, read, come };
}

it("leaves its share to a body that comes steadily for the minute that a request may take", async () => {
  const { body, read, come } = arriving(MAX_BODY_BYTES);
  await come(300 * KIB, 50, () => expect(budget.usedBytes).toBe(MAX_BODY_BYTES));
  expect(read.bytes).toBe(50 * 300 * KIB);
  body.end();
  expect(budget.usedBytes).toBe(0);
});

it("takes the share back of a body that no longer comes", async () => {
  const { come } = arriving(MAX_BODY_BYTES);
  await come(300 * KIB, 1);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(budget.usedBytes).toBe(300 * KIB);
});

it("lets the share of a slow body of unknown size grow as it comes", async () => {
  const { body, read, come } = arriving(undefined);
  await come(100 * KIB, 2);
  // There is no room for the largest body any more.
  const held = budget.tryHold(40 * MIB);
  expect(held).toBeDefined();
  await come(100 * KIB, 40, () => expect(budget.usedBytes - 40 * MIB).toBeLessThan(8 * MIB));
  expect(read).toEqual({ bytes: 42 * 100 * KIB, refusal: undefined });
  expect(budget.waiting).toBe(0);
  body.end();
  held?.release();
  expect(budget.usedBytes).toBe(0);
});

it("has the share of the largest for a body of unknown size that comes quickly", async () => {
  const { body, come } = arriving(undefined);
  await come(4 * MIB, 2);
  expect(budget.usedBytes).toBe(MAX_BODY_BYTES);
  body.end();
});
