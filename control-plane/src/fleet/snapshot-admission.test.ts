import { systemClock } from "@berth/service-kit";
import { afterEach, describe, expect, it } from "vitest";
import { ADMISSION_LIMITS, SnapshotAdmission } from "./snapshot-admission.ts";

let admission: SnapshotAdmission;
afterEach(() => admission.close());

/** A queue in which one may send at once, and what tells who has been let send. */
function queueOfOne() {
  let nowMs = 1_000_000;
  const clock = { ...systemClock, nowMs: () => nowMs };
  const limits = { ...ADMISSION_LIMITS, atOnce: 1, suspendMs: 60_000, restMs: 20_000 };
  admission = new SnapshotAdmission(limits, clock);
  const admitted: string[] = [];
  const enter = (name: string, isLate = false) => {
    const ticket = admission.enter({ isLate, receivedBytes: () => 0, onOverdue: () => undefined });
    void ticket.admitted.then(() => admitted.push(name));
    return ticket;
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { admitted, enter, pass };
}

describe("an agent whose turn was taken back", () => {
  it("goes behind all that wait and all that come meanwhile, and gets its turn when there are none", async () => {
    const { admitted, enter } = queueOfOne();
    const first = enter("first");
    const late = enter("late", true);
    const second = enter("second");
    first.leave();
    const third = enter("third");
    second.leave();
    third.leave();
    await late.admitted;
    expect(admitted).toEqual(["first", "second", "third", "late"]);
  });

  it("counts among those that wait, and excuses nobody's silence by that", () => {
    const { enter, pass } = queueOfOne();
    enter("first");
    enter("late", true);
    pass(1_000);
    expect(admission.counts).toEqual({ admitted: 1, waiting: 1, limit: 1 });
    expect(admission.silenceCountsFromMs).toBe(Number.NEGATIVE_INFINITY);
    enter("second");
    expect(admission.silenceCountsFromMs).toBeUndefined();
  });

  it("gives its place up before its turn comes", async () => {
    const { admitted, enter } = queueOfOne();
    const first = enter("first");
    enter("late", true).leave();
    first.leave();
    await enter("second").admitted;
    expect(admitted).toEqual(["first", "second"]);
  });
});
