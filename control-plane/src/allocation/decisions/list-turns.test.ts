import { describe, expect, it } from "vitest";
import { ListTurns } from "./list-turns.ts";

const LIMITS = { underWay: 2, waiting: 3, waitMs: 60_000 };
const never = new AbortController().signal;

/** A list that ends when it is let go. */
class Work {
  isBegun = false;
  readonly #ending = Promise.withResolvers<string>();

  readonly run = (): Promise<string> => {
    this.isBegun = true;
    return this.#ending.promise;
  };

  end(): void {
    this.#ending.resolve("done");
  }

  fail(): void {
    this.#ending.reject(new Error("no"));
  }
}

/** So many lists. */
const works = (count: number) => Array.from({ length: count }, () => new Work());
const begun = (of: readonly Work[]) => of.map((work) => work.isBegun);
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe("ListTurns", () => {
  it("makes a few lists at a time, and the others in their order", async () => {
    const turns = new ListTurns(LIMITS);
    const all = works(4);
    const [first, second, third, fourth] = all;
    const lists = all.map((work) => turns.run(work.run, never));
    expect(begun(all)).toEqual([true, true, false, false]);
    second?.end();
    await lists[1];
    await nextTurn();
    expect(begun(all)).toEqual([true, true, true, false]);
    third?.fail();
    await expect(lists[2]).rejects.toThrow("no");
    await nextTurn();
    expect(begun(all)).toEqual([true, true, true, true]);
    first?.end();
    fourth?.end();
    expect(await Promise.all([lists[0], lists[3]])).toEqual(["done", "done"]);
  });

  it("tells those that come on top that there are too many", async () => {
    const turns = new ListTurns(LIMITS);
    const all = works(5);
    const lists = all.map((work) => turns.run(work.run, never));
    const refused = turns.run(async () => "never", never);
    await expect(refused).rejects.toMatchObject({ reason: "OVERLOADED" });
    for (const work of all) work.end();
    expect(await Promise.all(lists)).toHaveLength(5);
  });

  it("tells those that have waited too long, and forgets them", async () => {
    const turns = new ListTurns({ ...LIMITS, underWay: 1, waitMs: 20 });
    const [first, late, next] = works(3);
    if (!first || !late || !next) throw new Error("there are three");
    const list = turns.run(first.run, never);
    await expect(turns.run(late.run, never)).rejects.toMatchObject({ reason: "OVERLOADED" });
    first.end();
    next.end();
    expect(await list).toBe("done");
    expect(await turns.run(next.run, never)).toBe("done");
    expect(begun([late, next])).toEqual([false, true]);
  });

  it("begins nothing for a client that has gone, and gives its place to the next", async () => {
    const turns = new ListTurns({ ...LIMITS, underWay: 1 });
    const [first, left, next] = works(3);
    if (!first || !left || !next) throw new Error("there are three");
    const gone = new AbortController();
    const list = turns.run(first.run, never);
    const canceled = turns.run(left.run, gone.signal);
    const last = turns.run(next.run, never);
    // In one turn: the place is free before the one that left has heard of it.
    first.end();
    gone.abort(new Error("the client has gone"));
    await expect(canceled).rejects.toThrow("the client has gone");
    next.end();
    expect(await Promise.all([list, last])).toEqual(["done", "done"]);
    await expect(turns.run(left.run, gone.signal)).rejects.toThrow("the client has gone");
    expect(left.isBegun).toBe(false);
  });
});
