import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import type { ResidentDocument } from "../request.ts";
import { unfitDocuments } from "./resident-fit.ts";
import { PartSizes } from "./resident-input.ts";

const BOUNDS = { textBytes: 4_000, heapBytes: 1_000_000 };
const LIST = { kind: "list", part: "data" } as const;

function document(id: string, json: string, metrics = "null"): ResidentDocument {
  return { id, parts: { data: { version: 1, json }, metrics: { version: 1, json: metrics } } };
}

function textOf(bytes: number): string {
  return `"${"x".repeat(bytes - 2)}"`;
}

function unfit(documents: readonly ResidentDocument[], bounds = BOUNDS) {
  const known = { sizes: new PartSizes(), bounds };
  return unfitDocuments({ shape: LIST, documents }, DEFAULT_LIMITS, known);
}

test("documents that fit are not named", () => {
  expect(unfit(["c1", "c2", "c3", "c4"].map((id) => document(id, textOf(1_000))))).toEqual([]);
  expect(unfit([])).toEqual([]);
});

test.each([
  ["an id that is too long", document("x".repeat(1_001), "1"), "the id is too long"],
  [
    "too many levels",
    document("c1", "[".repeat(70) + "]".repeat(70)),
    "data: nested 70 deep, at most 64 are allowed",
  ],
  [
    "a float that no double holds",
    document("c1", '{"a":1e999,"a":1}'),
    "data: a number is too large",
  ],
  [
    "an integer that Python does not read",
    document("c1", `[${"9".repeat(4_301)}]`),
    "data: a number is too large",
  ],
])("a document with %s is named, and the others are not", (_name, document_, message) => {
  const roomy = { textBytes: 1_000_000, heapBytes: 1_000_000 };
  const documents = [document("c0", "1"), document_, document("c9", "[1.5e100]")];
  expect(unfit(documents, roomy)).toEqual([{ id: document_.id, message }]);
});

test("a document that takes more than a quarter of a worker is named with both figures", () => {
  expect(unfit([document("c1", textOf(1_001)), document("c2", "1")])).toEqual([
    { id: "c1", message: "needs 1001 bytes, at most 1000 are allowed for one document" },
  ]);
  const narrow = { textBytes: 4_000, heapBytes: 40_000 };
  const many = document("c1", `[${Array(300).fill("{}").join(",")}]`);
  expect(unfit([many], narrow)).toEqual([
    {
      id: "c1",
      message: expect.stringMatching(
        /^needs \d+ bytes of interpreter memory, at most 10000 are allowed for one document$/,
      ),
    },
  ]);
});

test("the parts of a document count together, and only those that the shape names", () => {
  const both = document("c1", textOf(600), textOf(600));
  expect(unfit([both])).toEqual([]);
  const fields = { data: "data", metrics: "metrics", cluster_metrics: "metrics" };
  const resident = { shape: { kind: "members", key: "k", fields } as const, documents: [both] };
  const known = { sizes: new PartSizes(), bounds: BOUNDS };
  expect(unfitDocuments(resident, DEFAULT_LIMITS, known)).toEqual([
    { id: "c1", message: "needs 1200 bytes, at most 1000 are allowed for one document" },
  ]);
});

test("when all together need too much, the largest go until the rest fits", () => {
  const sizes = { c1: 900, c2: 1_000, c3: 300, c4: 999, c5: 950, c6: 950 };
  const documents = Object.entries(sizes).map(([id, bytes]) => document(id, textOf(bytes)));
  expect(unfit(documents)).toEqual([
    {
      id: "c2",
      message: "needs 1000 bytes, and the documents together more than the 4000 that fit a worker",
    },
    {
      id: "c4",
      message: "needs 999 bytes, and the documents together more than the 4000 that fit a worker",
    },
  ]);
});

test("what is too large on its own does not push out the others", () => {
  const documents = [textOf(3_900), textOf(1_000), textOf(1_000), textOf(1_000)];
  expect(unfit(documents.map((text, index) => document(`c${index}`, text)))).toMatchObject([
    { id: "c0" },
  ]);
});

test("an enormous text is not even looked at", () => {
  const sizes = new PartSizes();
  const enormous = document("c1", textOf(5_000));
  sizes.of = () => {
    throw new Error("it was measured");
  };
  const resident = { shape: LIST, documents: [enormous] };
  expect(unfitDocuments(resident, DEFAULT_LIMITS, { sizes, bounds: BOUNDS })).toMatchObject([
    { id: "c1", message: "needs 5000 bytes, at most 1000 are allowed for one document" },
  ]);
});

test("a part that is made when it is asked for is measured by what it is like", () => {
  const base = { version: 1, json: textOf(1_100) };
  const part = {
    version: 2,
    get json(): string {
      throw new Error("the text was made");
    },
    shapedLike: base,
  };
  expect(unfit([{ id: "c1", parts: { data: part } }])).toMatchObject([{ id: "c1" }]);
});
