import { expect, it } from "vitest";
import { isSameInput } from "./same-input.ts";

it.each([
  ['{"a":1,"b":{"c":[1,2],"d":null}}', '{"b":{"d":null,"c":[1,2]},"a":1}', true],
  ['{"a":[{"x":1,"y":2}]}', '{"a":[{"y":2,"x":1}]}', true],
  ['{"a":0.70}', '{"a":0.70}', true],
  ['{"a":[1,2]}', '{"a":[2,1]}', false],
  ['{"a":0.70,"b":1}', '{"b":1,"a":0.71}', false],
  ['{"a":12345678901234567890,"b":1}', '{"b":1,"a":12345678901234567891}', false],
  ['{"a":1}', '{"a":"1"}', false],
])("compares what is asked, not the order of its keys: %s and %s", (a, b, isSame) => {
  expect(isSameInput(a, b)).toBe(isSame);
});
