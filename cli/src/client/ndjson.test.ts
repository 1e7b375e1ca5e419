import { describe, expect, it } from "vitest";
import { readLines } from "./ndjson.ts";

async function linesOf(chunks: readonly string[], limit?: number): Promise<readonly string[]> {
  const source = async function* () {
    yield* chunks;
  };
  return Array.fromAsync(readLines(source(), limit));
}

describe("readLines", () => {
  it("gives lines however they are cut into pieces", async () => {
    const text = '{"a":1}\n\n{"b":2}\r\n{"c":3}\n';
    const expected = ['{"a":1}', '{"b":2}\r', '{"c":3}'];
    expect(await linesOf([text])).toEqual(expected);
    expect(await linesOf([...text])).toEqual(expected);
  });

  it("leaves out a line without an end: it was cut off", async () => {
    expect(await linesOf(["1\n{"])).toEqual(["1"]);
  });

  it("refuses a line over the limit, also one that never ends", async () => {
    await expect(linesOf(["abc", "def"], 5)).rejects.toThrow("a line of more than 5 characters");
    expect(await linesOf(["abc\ndef\n"], 5)).toEqual(["abc", "def"]);
  });
});
