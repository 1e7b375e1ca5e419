import { describe, expect, test } from "vitest";
import type { EvaluationRequest, ResidentDocument, ResidentInput } from "../request.ts";
import { requestFor } from "../testing/sandbox-fixture.ts";
import { scanJson } from "./json-scan.ts";
import { checkResidents, estimateHeapBytes, PartSizes } from "./resident-input.ts";

const ROOMY = { textBytes: 1_000_000, heapBytes: 10_000_000 };
const LIST = { kind: "list", part: "data" } as const;

function document(id: string, json = "{}"): ResidentDocument {
  return { id, parts: { data: { version: 1, json }, metrics: { version: 1, json: "null" } } };
}

function check(
  resident: ResidentInput,
  options: { request?: Partial<EvaluationRequest>; bounds?: typeof ROOMY } = {},
) {
  const request = requestFor("", { inputJson: "null", ...options.request });
  const known = { sizes: new PartSizes(), bounds: options.bounds ?? ROOMY };
  return checkResidents(request, resident, known);
}

describe("a request is refused", () => {
  test.each<[string, ResidentInput, Partial<EvaluationRequest>, RegExp]>([
    [
      "with an id that stands twice",
      { shape: LIST, documents: [document("c1"), document("c1")] },
      {},
      /^resident c1: the id stands twice$/,
    ],
    [
      "without a part that the shape names",
      { shape: { kind: "list", part: "toString" }, documents: [document("c1")] },
      {},
      /^resident c1: has no part toString$/,
    ],
    [
      "with a part that is nested too deeply",
      { shape: LIST, documents: [document("c1", "[".repeat(70) + "]".repeat(70))] },
      {},
      /^resident c1\.data: nested 70 deep, at most 64 are allowed$/,
    ],
    [
      "with an input beside a list",
      { shape: LIST, documents: [] },
      { inputJson: "{}" },
      /^inputJson: expected "null"/,
    ],
    [
      "without fields",
      { shape: { kind: "members", key: "k", fields: {} }, documents: [] },
      { inputJson: "{}" },
      /^resident\.shape\.fields: /,
    ],
    [
      "for a call of management",
      { shape: LIST, documents: [] },
      { call: { kind: "management", action: "reset", dataJson: "null" } },
      /^resident: only for calls of eval$/,
    ],
  ])("%s", (_name, resident, request, message) => {
    expect(check(resident, { request })).toMatch(message);
  });

  test("when its own documents do not fit into a worker", () => {
    const documents = [
      document("c1", `"${"x".repeat(600)}"`),
      document("c2", `"${"x".repeat(600)}"`),
    ];
    expect(check({ shape: LIST, documents }, { bounds: { ...ROOMY, textBytes: 1_000 } })).toBe(
      "resident: the documents need 1204 bytes, at most 1000 are allowed",
    );
    expect(check({ shape: LIST, documents }, { bounds: { ...ROOMY, heapBytes: 1_000 } })).toMatch(
      /^resident: the documents need \d+ bytes of interpreter memory, at most 1000 are allowed$/,
    );
  });
});

test("only the parts that the shape names are wanted, each once", () => {
  const fields = { data: "data", cluster_metrics: "metrics", metrics: "metrics" };
  const shape = { kind: "members", key: "cluster_data", fields } as const;
  const found = check({ shape, documents: [document("c1")] }, { request: { inputJson: "{}" } });
  expect(found).toMatchObject({ parts: ["data", "metrics"], members: true });
});

test("a part is looked at once, and what was found is kept with it", () => {
  const sizes = new PartSizes();
  const part = { version: 1, json: '{"a":[1e400]}' };
  expect(sizes.of(part)).toMatchObject({ textBytes: 13, depth: 2, strict: true });
  expect(sizes.of(part)).toBe(sizes.of(part));
});

test.each([
  ["empty lists", `[${Array(1_000).fill("[]").join(",")}]`, 1_000 * 32],
  ["empty objects", `[${Array(1_000).fill("{}").join(",")}]`, 1_000 * 44],
  ["small objects", `[${Array(1_000).fill('{"a":1}').join(",")}]`, 1_000 * 112],
  ["floats", `[${Array(1_000).fill("1.5").join(",")}]`, 1_000 * 20],
  ["short strings", `[${Array(1_000).fill('"ab"').join(",")}]`, 1_000 * 28],
  ["wide strings", `["${"日".repeat(1_000)}😀"]`, 4_000],
])("the memory that Python needs for %s is estimated from above", (_name, json, least) => {
  const text = { textBytes: Buffer.byteLength(json), chars: json.length };
  const estimate = estimateHeapBytes(scanJson(json), text);
  expect(estimate).toBeGreaterThanOrEqual(least);
  expect(estimate).toBeLessThan(8 * least);
});
