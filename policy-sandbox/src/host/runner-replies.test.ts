import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { FrameError } from "../protocol/frames.ts";
import { parseEvaluationReply } from "./runner-replies.ts";

const HEAD = {
  kind: "returned",
  log: "",
  logTruncated: false,
  cold: true,
  instances: ["k"],
  revision: 3,
  input: "clean",
};

function parse(head: unknown, ...payloads: string[]) {
  const texts = [typeof head === "string" ? head : JSON.stringify(head), ...payloads];
  return parseEvaluationReply(
    texts.map((text) => Buffer.from(text)),
    DEFAULT_LIMITS,
  );
}

test("a returned result keeps its text", () => {
  const reply = parse(HEAD, "[10.0]", "");
  expect(reply.result).toEqual({ kind: "returned", resultJson: "[10.0]", contextJson: null });
  expect(reply).toMatchObject({ cold: true, revision: 3, inputCheck: "clean" });
});

test.each([
  ["a head that is not JSON", ["{", "1", ""]],
  ["an unknown kind", [{ ...HEAD, kind: "granted" }, "1", ""]],
  ["no result", [HEAD]],
  ["a result that is not JSON", [HEAD, "NaN", ""]],
  ["a result nested too deeply", [HEAD, "[".repeat(65) + "]".repeat(65), ""]],
  ["a result that is too large", [HEAD, `"${"x".repeat(1024 * 1024)}"`, ""]],
  ["a context that is no object", [HEAD, "1", "[]"]],
  ["a log that is no text", [{ ...HEAD, log: 1 }, "1", ""]],
  ["no revision of the residents", [{ ...HEAD, revision: undefined }, "1", ""]],
  ["a revision that is no whole number", [{ ...HEAD, revision: -1.5 }, "1", ""]],
  ["a revision that is a list", [{ ...HEAD, revision: [3] }, "1", ""]],
  ["a verdict on the input that does not exist", [{ ...HEAD, input: "trusted" }, "1", ""]],
  ["an error without a type", [{ ...HEAD, kind: "raised", error: { message: "x" } }]],
] as const)("%s is a broken protocol", (_name, [head, ...payloads]) => {
  expect(() => parse(head, ...payloads)).toThrow(FrameError);
});
