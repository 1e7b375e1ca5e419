import { describe, expect, it } from "vitest";
import { sleep, systemClock } from "./clock.ts";

describe("sleep", () => {
  it("waits its time", async () => {
    const before = systemClock.nowMs();
    await sleep(20, new AbortController().signal);
    expect(systemClock.nowMs() - before).toBeGreaterThanOrEqual(15);
  });

  it("ends at once when the signal is aborted, before or during the wait", async () => {
    await sleep(3_600_000, AbortSignal.abort());
    const controller = new AbortController();
    const asleep = sleep(3_600_000, controller.signal);
    controller.abort(new Error("any reason"));
    await expect(asleep).resolves.toBeUndefined();
  });

  it.each([2 ** 31, Number.MAX_VALUE, Number.POSITIVE_INFINITY])(
    "does not turn %s ms into no wait at all",
    async (ms) => {
      const controller = new AbortController();
      const long = sleep(ms, controller.signal).then(() => "long");
      const short = sleep(30, controller.signal).then(() => "short");
      expect(await Promise.race([long, short])).toBe("short");
      controller.abort();
      await long;
    },
  );
});

describe("systemClock", () => {
  it("tells wall-clock time in ISO 8601 and monotonic time that does not go back", () => {
    expect(new Date(systemClock.timestamp()).toISOString()).toMatch(/^20\d\d-/);
    const earlier = systemClock.nowMs();
    expect(systemClock.nowMs()).toBeGreaterThanOrEqual(earlier);
  });
});
