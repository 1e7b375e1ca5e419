import { describe, expect, it } from "vitest";
import { ByteBudget } from "./byte-budget.ts";

describe("ByteBudget", () => {
  it("gives bytes until there are none, and again when they come back", () => {
    const budget = new ByteBudget(100);
    expect(budget.tryTake(60)).toBe(true);
    expect(budget.tryTake(41)).toBe(false);
    expect(budget.tryTake(40)).toBe(true);
    budget.giveBack(60);
    expect(budget.tryTake(60)).toBe(true);
  });

  it("lets one taker have more than the whole budget, alone", () => {
    const budget = new ByteBudget(100);
    expect(budget.tryTake(500)).toBe(true);
    expect(budget.tryTake(1)).toBe(false);
  });

  it("tells each waiting one once, and nobody who has left", () => {
    const budget = new ByteBudget(100);
    const told: string[] = [];
    const stays = () => void told.push("stays");
    const leaves = () => void told.push("leaves");
    budget.tryTake(100);
    budget.whenGivenBack(stays);
    budget.whenGivenBack(leaves);
    budget.forget(leaves);
    budget.giveBack(50);
    budget.giveBack(50);
    expect(told).toEqual(["stays"]);
  });
});
