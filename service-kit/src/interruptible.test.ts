import { describe, expect, it } from "vitest";
import { Interruptible } from "./interruptible.ts";

/** Work that never ends, and tells when it is thrown at. */
function endless(told: () => void): never {
  for (;;) {
    try {
      for (;;);
    } catch {
      told();
    } finally {
      told();
    }
  }
}

describe("Interruptible", () => {
  it("gives what the work returns", () => {
    expect(new Interruptible().run(() => 7, 1_000)).toEqual({ kind: "done", value: 7 });
  });

  it("cuts off work that takes too long, whatever it catches, and runs others after it", () => {
    const interruptible = new Interruptible();
    let told = 0;
    const work = () => endless(() => (told += 1));
    expect(interruptible.run(work, 20)).toEqual({ kind: "interrupted" });
    expect(told).toBe(0);
    expect(interruptible.run(() => "next", 1_000)).toEqual({ kind: "done", value: "next" });
  });

  it("throws what the work throws", () => {
    const work = () => {
      throw new TypeError("a bug");
    };
    expect(() => new Interruptible().run(work, 1_000)).toThrow(TypeError);
  });
});
