import { describe, expect, it } from "vitest";
import { EventShares } from "./event-shares.ts";

const bounds = { kept: 5, keptCharacters: 50, keptOfAccount: 3, keptCharactersOfAccount: 20 };

function filled(...events: readonly (readonly [name: string, characters: number])[]): EventShares {
  const shares = new EventShares(bounds);
  for (const [index, [name, characters]] of events.entries())
    shares.add(name, index + 1, characters);
  return shares;
}

describe("EventShares", () => {
  it("names the oldest events of an account beyond its share of count", () => {
    const shares = filled(["a", 1], ["b", 1], ["a", 1], ["a", 1], ["a", 1], ["a", 1]);
    expect(shares.beyondShare("a")).toEqual([1, 3]);
    expect(shares.beyondShare("b")).toEqual([]);
    expect(shares.beyondShare("nobody")).toEqual([]);
  });

  it("names them beyond its share of characters, also when one event alone is more", () => {
    expect(filled(["a", 15], ["a", 5], ["a", 6]).beyondShare("a")).toEqual([1]);
    expect(filled(["a", 1], ["a", 21]).beyondShare("a")).toEqual([1, 2]);
  });

  it("says when all hold too much, and no more once something has gone", () => {
    expect(filled(["a", 1], ["b", 1], ["c", 1], ["d", 1], ["e", 1]).isOver()).toBe(false);
    const many = filled(["a", 1], ["b", 1], ["c", 1], ["d", 1], ["e", 1], ["f", 1]);
    expect(many.isOver()).toBe(true);
    expect(many.isOver({ count: 1, characters: 1 })).toBe(false);
    expect(many.names).toEqual(["a", "b", "c", "d", "e", "f"]);
    many.remove("f", 6);
    many.remove("f", 6);
    many.remove("nobody", 1);
    expect(many.isOver()).toBe(false);
    const large = filled(["a", 20], ["b", 20], ["c", 11]);
    expect(large.isOver()).toBe(true);
    expect(large.isOver({ count: 1, characters: 0 })).toBe(true);
    expect(large.isOver({ count: 0, characters: 1 })).toBe(false);
    large.remove("a", 1);
    expect(large.isOver()).toBe(false);
  });
});
