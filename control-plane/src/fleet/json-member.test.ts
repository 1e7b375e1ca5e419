import { describe, expect, it } from "vitest";
import { withMember } from "./json-member.ts";

const lost = (json: string) => withMember(json, "status", '"lost"');

describe("withMember", () => {
  it.each([
    ['{"status":"live"}', '{"status":"lost"}'],
    ['{"a":10.0,"status":"live","b":1e2}', '{"a":10.0,"status":"lost","b":1e2}'],
    [' { "status" : { "x":[1,{}] } , "b":-0 } ', ' { "status" :"lost", "b":-0 } '],
    [
      '{"a":{"status":"live"},"b":["status",":"]}',
      '{"a":{"status":"live"},"b":["status",":"],"status":"lost"}',
    ],
    [
      '{"a":"status","b":12345678901234567890}',
      '{"a":"status","b":12345678901234567890,"status":"lost"}',
    ],
    ['{"st\\u0061tus":1,"a":1}', '{"st\\u0061tus":"lost","a":1}'],
    ['{"status":1,"status":2}', '{"status":"lost","status":"lost"}'],
    ['{"a\\"":"\\\\","status":"\\"}{,:\\\\\\""}', '{"a\\"":"\\\\","status":"lost"}'],
    ['{"status":{"status":1}}', '{"status":"lost"}'],
    ["{}", '{"status":"lost"}'],
    [" { } ", ' { "status":"lost"} '],
    ['{"a":{}}', '{"a":{},"status":"lost"}'],
    ['{"":"status"}', '{"":"status","status":"lost"}'],
  ])("changes %s into %s", (json, expected) => {
    expect(lost(json)).toBe(expected);
    expect(JSON.parse(lost(json))).toEqual({ ...JSON.parse(json), status: "lost" });
  });

  it("takes linear time, also for a text of nothing but escapes", () => {
    const escapes = JSON.stringify({ pad: '\\"'.repeat(1_000_000), status: "live" });
    const begun = performance.now();
    expect(lost(escapes).endsWith('"status":"lost"}')).toBe(true);
    expect(performance.now() - begun).toBeLessThan(2_000);
  });
});
