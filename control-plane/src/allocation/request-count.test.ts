import { describe, expect, it } from "vitest";
import { requestCount } from "./request-count.ts";

describe("requestCount", () => {
  it.each([
    ['{"requests":[{},{"a":[1,2]}]}', 2],
    [' { "a" : [1] , "requests" : [ ] } ', 0],
    ["[{}]", undefined],
    ["[]", undefined],
    ["null", undefined],
    ["{}", undefined],
    ['{"requests":3}', undefined],
    ['{"requests":{"0":[]}}', undefined],
    ['"[1]"', undefined],
  ])("of %s is %s", (inputs, count) => {
    expect(requestCount(JSON.parse(inputs))).toBe(count);
  });
});
