import { expect, test } from "vitest";
import { digestFiles, pythonPolicy } from "./policy.ts";

test("the digest does not depend on the order of the files", () => {
  const one = digestFiles({ "code/a.py": "1", "code/b.py": "2" });
  expect(digestFiles({ "code/b.py": "2", "code/a.py": "1" })).toBe(one);
  expect(one).toMatch(/^[0-9a-f]{64}$/);
});

test("moving text between a path and its content changes the digest", () => {
  expect(digestFiles({ ab: "c" })).not.toBe(digestFiles({ a: "bc" }));
  expect(digestFiles({ a: "b", c: "" })).not.toBe(digestFiles({ a: "", c: "b" }));
});

test("a policy carries the digest of its files", () => {
  const files = { "code/function.py": "pass" };
  expect(pythonPolicy(files)).toEqual({ digest: digestFiles(files), language: "python", files });
});
