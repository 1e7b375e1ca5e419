import { describe, expect, it } from "vitest";
import { afterExit, FRESH_STATE, type RestartState } from "./restart-policy.ts";

const UP = { wasUp: true, wasKilled: false };
const FAILED = { wasUp: false, wasKilled: false };
const KILLED = { wasUp: false, wasKilled: true };

function delaysOf(
  livesMs: readonly number[],
  how = UP,
  from: RestartState = FRESH_STATE,
): (number | string)[] {
  let state = from;
  return livesMs.map((livedMs) => {
    const verdict = afterExit(state, { livedMs, ...how });
    if (verdict.kind === "give-up") return verdict.kind;
    state = verdict.state;
    return verdict.delayMs;
  });
}

describe("afterExit", () => {
  it("doubles the delay from 200 ms up to 5 s", () => {
    const lives = Array.from({ length: 8 }, () => 4_000);
    expect(delaysOf(lives)).toEqual([200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
  });

  it("starts the delays over after a life of 10 s", () => {
    expect(delaysOf([4_000, 4_000, 10_000, 4_000])).toEqual([200, 400, 200, 400]);
  });

  it("gives up at once when the very first start fails, however long it took", () => {
    for (const livedMs of [10, 20_000]) {
      expect(afterExit(FRESH_STATE, { livedMs, ...FAILED })).toEqual({
        kind: "give-up",
        failures: 1,
      });
    }
  });

  it("gives up after three failed starts in a row of a program that was up once", () => {
    const verdict = afterExit(FRESH_STATE, { livedMs: 20_000, ...UP });
    const state = verdict.kind === "restart" ? verdict.state : FRESH_STATE;
    expect(delaysOf([10, 8_000, 10], FAILED, state)).toEqual([400, 800, "give-up"]);
  });

  it("tries three times to start a program that is killed before it is up", () => {
    expect(delaysOf([10, 8_000, 10], KILLED)).toEqual([200, 400, "give-up"]);
  });

  it("gives up when a program fails that was killed at its first start and has never been up", () => {
    const verdict = afterExit(FRESH_STATE, { livedMs: 10, ...KILLED });
    const state = verdict.kind === "restart" ? verdict.state : FRESH_STATE;
    expect(delaysOf([10], FAILED, state)).toEqual(["give-up"]);
  });

  it("always restarts a program that was up, however short its lives are", () => {
    expect(delaysOf(Array.from({ length: 20 }, () => 10))).not.toContain("give-up");
  });

  it("forgets failed starts after one that succeeded", () => {
    const twice = [UP, FAILED, FAILED].reduce((state, how) => {
      const verdict = afterExit(state, { livedMs: 10, ...how });
      return verdict.kind === "restart" ? verdict.state : state;
    }, FRESH_STATE);
    expect(twice).toMatchObject({ failedStarts: 2 });
    const up = afterExit(twice, { livedMs: 10, ...UP });
    expect(up).toMatchObject({ kind: "restart", state: { failedStarts: 0 } });
  });
});
