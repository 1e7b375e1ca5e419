import { describe, expect, it } from "vitest";
import { seededRandom } from "../testing/seeded-random.ts";
import { SettledSequences } from "./settled-sequences.ts";

describe("SettledSequences", () => {
  it("takes each message once, in any order of their ends", () => {
    const settled = new SettledSequences();
    expect([3, 5, 9].map((one) => settled.begin(one))).toEqual(["begun", "begun", "begun"]);
    expect(settled.begin(5)).toBe("running");
    settled.end(9, "settled");
    settled.end(5, "settled");
    expect(settled.upTo).toBe(2);
    expect([5, 9, 2].map((one) => settled.begin(one))).toEqual(["settled", "settled", "settled"]);
    settled.end(3, "settled");
    expect(settled.upTo).toBe(9);
    expect(settled.begin(10)).toBe("begun");
  });

  it("keeps what ended unsettled open until it comes again", () => {
    const settled = new SettledSequences();
    settled.begin(3);
    settled.begin(4);
    settled.end(3, "unsettled");
    settled.end(4, "settled");
    expect(settled.upTo).toBe(2);
    expect(settled.begin(4)).toBe("settled");
    expect(settled.begin(3)).toBe("begun");
    settled.end(3, "settled");
    expect(settled.upTo).toBe(4);
  });

  it("begins anew with a stream that counts from 1 again", () => {
    const settled = new SettledSequences();
    settled.skip(7);
    expect([settled.upTo, settled.begin(7)]).toEqual([7, "settled"]);
    settled.begin(8);
    settled.reset();
    expect([settled.upTo, settled.begin(1)]).toEqual([0, "begun"]);
  });

  it("forgets what never comes again, and holds no more than was under way together", () => {
    const settled = new SettledSequences();
    settled.begin(1);
    settled.end(1, "unsettled");
    for (let one = 2; one < 10_010; one += 1) {
      settled.begin(one);
      settled.end(one, "settled");
    }
    expect(settled.upTo).toBe(10_009);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("takes nothing twice and nothing never, seed %i", (seed) => {
    const run = new Run(seed);
    while (!run.isOver) run.step();
    expect(run.done).toHaveLength(MESSAGES);
  });
});

const MESSAGES = 300;
const AT_ONCE = 8;

/** Messages that come in order, end in any, and come again when they ended unsettled. */
class Run {
  readonly #settled = new SettledSequences();
  readonly #random: (most: number) => number;
  #next = 1;
  readonly #again: number[] = [];
  readonly #running: number[] = [];
  readonly done: number[] = [];

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  get isOver(): boolean {
    return this.done.length === MESSAGES;
  }

  step(): void {
    const copied = [...this.#running, ...this.done][this.#random(40)];
    if (copied !== undefined) expect(this.#settled.begin(copied)).not.toBe("begun");
    const one = this.#running.length < AT_ONCE ? this.#coming() : undefined;
    if (one === undefined) this.#end();
    else {
      expect(this.#settled.begin(one)).toBe("begun");
      this.#running.push(one);
    }
    const open = [...this.#running, ...this.#again];
    expect(this.#settled.upTo).toBe(open.length === 0 ? this.#next - 1 : Math.min(...open) - 1);
  }

  #coming(): number | undefined {
    if (this.#next > MESSAGES || this.#random(2) === 0) return this.#again.shift();
    this.#next += 1;
    return this.#next - 1;
  }

  #end(): void {
    const [one] = this.#running.splice(this.#random(this.#running.length), 1);
    if (one === undefined) return;
    const isSettled = this.#random(5) > 0;
    this.#settled.end(one, isSettled ? "settled" : "unsettled");
    (isSettled ? this.done : this.#again).push(one);
  }
}
