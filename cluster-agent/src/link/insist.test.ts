import { describe, expect, it } from "vitest";
import { until } from "../testing/fixtures.ts";
import { insist } from "./insist.ts";

const retry = { firstMs: 1, capMs: 4 };
const never = new AbortController().signal;

describe("insist", () => {
  it("attempts a task until it succeeds, and tells each kind of failure once", async () => {
    const failures = ["full", "full", "gone", "full"];
    const told: string[] = [];
    const outcome = await insist(
      async () => {
        const why = failures.shift();
        if (why !== undefined) throw new Error(why);
        return 7;
      },
      { retry, signal: never, onFailure: (thrown) => told.push(String(thrown)) },
    );
    expect(outcome).toEqual({ kind: "done", value: 7 });
    expect(told).toEqual(["Error: full", "Error: gone", "Error: full"]);
  });

  it("attempts a task once though it was stopped before", async () => {
    const signal = AbortSignal.abort();
    const options = { retry, signal, onFailure: () => undefined };
    expect(await insist(async () => 7, options)).toEqual({ kind: "done", value: 7 });
    const failing = insist(() => Promise.reject(new Error("full")), options);
    expect(await failing).toEqual({ kind: "stopped" });
  });

  it("stops at once when it is told to, also while it waits", async () => {
    const stop = new AbortController();
    let attempts = 0;
    const outcome = insist(
      async () => {
        attempts += 1;
        throw new Error("full");
      },
      {
        retry: { firstMs: 60_000, capMs: 60_000 },
        signal: stop.signal,
        onFailure: () => undefined,
      },
    );
    await until("it has tried", () => attempts === 1);
    stop.abort();
    expect(await outcome).toEqual({ kind: "stopped" });
    expect(attempts).toBe(1);
  });
});
