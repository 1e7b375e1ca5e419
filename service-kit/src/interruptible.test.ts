import { describe, expect, it } from "vitest";
import { Interruptible } from "./interruptible.ts";

function endless(): never {
  let caught = 0;
  for (;;) {
    try {
      for (;;);
    } catch {
      caught += 1;
    } finally {
      caught += 1;
    }
  }
}

describe("Interruptible", () => {
  it("gives what the work returns", () => {
    expect(new Interruptible().run(() => 7, 1_000)).toEqual({ kind: "done", value: 7 });
  });

  it("cuts off work that takes too long, whatever it catches, and runs others after it", () => {
    const interruptible = new Interruptible();
    expect(interruptible.run(endless, 20)).toEqual({ kind: "interrupted" });
    expect(interruptible.run(() => "next", 1_000)).toEqual({ kind: "done", value: "next" });
  });

  it("throws what the work throws", () => {
    const work = () => {
      throw new TypeError("a bug");
    };
    expect(() => new Interruptible().run(work, 1_000)).toThrow(TypeError);
  });
});
