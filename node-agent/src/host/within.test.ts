import { expect, it } from "vitest";
import { within } from "./within.ts";

it("gives the result of work that is in time", async () => {
  expect(await within(Promise.resolve(7), 1_000)).toBe(7);
});

it("gives undefined for work that fails or never ends", async () => {
  expect(await within(Promise.reject(new Error("gone")), 1_000)).toBeUndefined();
  expect(await within(new Promise(() => undefined), 5)).toBeUndefined();
});
