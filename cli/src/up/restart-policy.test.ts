import { describe, expect, it } from "vitest";
import { afterExit, FRESH_STATE, type RestartState } from "./restart-policy.ts";

function delaysOf(livesMs: readonly number[], wasUp = true): (number | string)[] {
  let state: RestartState = FRESH_STATE;
  return livesMs.map((livedMs) => {
    const verdict = afterExit(state, { livedMs, wasUp });
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

  it("gives up after three lives in a row that never got up, however long they took", () => {
    expect(delaysOf([10, 8_000, 10], false)).toEqual([200, 400, "give-up"]);
  });

  it("always restarts a program that was up, however short its lives are", () => {
    expect(delaysOf(Array.from({ length: 20 }, () => 10))).not.toContain("give-up");
  });

  it("forgets failed starts after one that succeeded", () => {
    const failed = { livedMs: 10, wasUp: false };
    const twice = [failed, failed].reduce((state, life) => {
      const verdict = afterExit(state, life);
      return verdict.kind === "restart" ? verdict.state : state;
    }, FRESH_STATE);
    const up = afterExit(twice, { livedMs: 10, wasUp: true });
    expect(up).toMatchObject({ kind: "restart", state: { failedStarts: 0 } });
  });
});
