import { expect, it } from "vitest";
import {
  answerOf,
  bigOf,
  mebibytesOf,
  numberOf,
  percentOf,
  pick,
  switchOf,
  textOf,
  wholeOf,
} from "./smi-value.ts";

it.each([
  "N/A",
  "[N/A]",
  " [N/A] ",
  "[Not Supported]",
  "Not Supported",
  "[Unknown Error]",
  "Unknown Error",
  "[Insufficient Permissions]",
  "Insufficient Permissions",
  "[GPU is lost]",
  "ERR!",
  "",
  " ",
  "[anything else in brackets]",
  undefined,
])("takes %j for no value", (cell) => {
  expect(textOf(cell)).toBeUndefined();
  expect(numberOf(cell)).toBeUndefined();
  expect(mebibytesOf(cell)).toBeUndefined();
});

it("reads texts and numbers within their ranges", () => {
  expect(textOf(" Tesla T4 ")).toBe("Tesla T4");
  expect(textOf("x".repeat(3_000))).toHaveLength(256);
  expect([numberOf("-3.25"), numberOf("1e3"), numberOf("12 W")]).toEqual([
    -3.25,
    undefined,
    undefined,
  ]);
  expect([wholeOf("7"), wholeOf("-7"), wholeOf("7.5"), wholeOf("4294967296")]).toEqual([
    7,
    undefined,
    undefined,
    undefined,
  ]);
  expect([percentOf("100"), percentOf("101")]).toEqual([100, undefined]);
  expect([bigOf("4294967296"), bigOf("18446744073709551615")]).toEqual([4_294_967_296n, undefined]);
  expect([mebibytesOf("81559 MiB"), mebibytesOf("1 GiB"), mebibytesOf("81559")]).toEqual([
    81_559n,
    undefined,
    undefined,
  ]);
});

it("reads switches and answers, and nothing into other words", () => {
  expect([switchOf("Enabled"), switchOf("Disabled"), switchOf("[N/A]")]).toEqual([
    true,
    false,
    undefined,
  ]);
  expect([answerOf("Yes"), answerOf("No"), answerOf("N/A")]).toEqual([true, false, undefined]);
  expect([pick("a", 1), pick("a", undefined)]).toEqual([{ a: 1 }, {}]);
});
