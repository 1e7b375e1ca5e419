import { expect, it } from "vitest";
import { operationWarnings } from "./operation-warnings.ts";

const no = (message?: string) => ({
  success: false,
  ...(message === undefined ? {} : { message }),
});

it("names instances that did not take an update of parameters", () => {
  const result = { a: { success: true }, b: no("too large"), c: no() };
  expect(operationWarnings("parameter_update", result)).toEqual([
    "2 of 3 instances did not take the update, which the record holds: b: too large; c: no reason",
  ]);
  const many = Object.fromEntries(["a", "b", "c", "d", "e"].map((id) => [id, no("x")]));
  expect(operationWarnings("parameter_update", many)[0]).toMatch(/a: x; b: x; c: x; and 2 more$/);
});

it.each([
  ["parameter_update", { a: { success: true } }],
  ["parameter_update", "Action performed"],
  ["parameter_update", null],
  ["scale", { a: { success: false } }],
])("warns of nothing else: %s %j", (action, result) => {
  expect(operationWarnings(action, result)).toEqual([]);
});
