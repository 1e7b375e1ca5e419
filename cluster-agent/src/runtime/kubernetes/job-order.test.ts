import { describe, expect, it } from "vitest";
import { type Job, JobOrder } from "./job-order.ts";

const never = new AbortController().signal;
const apply = (instanceId?: string): Job => ({ kind: "apply", blockId: "a", instanceId });
const remove = (instanceId?: string): Job => ({ kind: "remove", blockId: "a", instanceId });

/** Whether the second job has begun while the first one is under way, and then whether it did in the end. */
async function begun(first: Job, second: Job): Promise<readonly [before: boolean, after: boolean]> {
  const order = new JobOrder();
  const gate = Promise.withResolvers<void>();
  let hasBegun = false;
  const one = order.run(first, never, () => gate.promise);
  const two = order.run(second, never, async () => {
    hasBegun = true;
  });
  for (let turns = 0; turns < 20; turns += 1) await Promise.resolve();
  const before = hasBegun;
  gate.resolve();
  await Promise.all([one, two]);
  return [before, hasBegun];
}

describe("the order of jobs", () => {
  it.each([
    [remove("x"), apply("x")],
    [apply("x"), remove("x")],
    [apply("x"), apply("x")],
    [remove(), apply("x")],
    [apply("x"), remove()],
    [remove(), apply()],
    [apply(), remove()],
  ])("lets the later of two that contradict each other wait: %j, %j", async (first, second) => {
    expect(await begun(first, second)).toEqual([false, true]);
  });

  it.each([
    [remove("x"), remove("x")],
    [remove("x"), remove()],
    [remove(), remove("x")],
    [apply("x"), apply("y")],
    [apply("x"), remove("y")],
    [apply(), apply("x")],
    [remove("x"), { ...apply("x"), blockId: "b" }],
  ])("lets nobody wait for others: %j, %j", async (first, second) => {
    expect(await begun(first, second)).toEqual([true, true]);
  });

  it("goes on after a job that failed, and rejects one that nobody waits for any more", async () => {
    const order = new JobOrder();
    const failing = order.run(remove("x"), never, () => Promise.reject(new Error("no")));
    const next = order.run(apply("x"), never, async () => "done");
    await expect(failing).rejects.toThrow("no");
    expect(await next).toBe("done");
    const gate = Promise.withResolvers<void>();
    const slow = order.run(remove("x"), never, () => gate.promise);
    const enough = new AbortController();
    const impatient = order.run(apply("x"), enough.signal, async () => "done");
    enough.abort(new Error("enough"));
    await expect(impatient).rejects.toThrow("enough");
    gate.resolve();
    await slow;
    expect(await order.run(apply("x"), never, async () => "again")).toBe("again");
  });
});
