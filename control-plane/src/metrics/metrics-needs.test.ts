import { compileFilter } from "@berth/service-kit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MetricsColumns } from "./metrics-columns.ts";
import { neededValues } from "./metrics-needs.ts";

/** Whether a look at the values alone leaves a document as one that may match. */
function mayMatch(filter: Readonly<Record<string, unknown>>, document: object): boolean {
  const columns = new MetricsColumns(document);
  return neededValues(filter).every((need) => columns.mayHold(need));
}

const cluster = {
  clusterId: "c1",
  nodes: [
    { id: "a", gpus: [{ uuid: "GPU-1", temperature: 40, reasons: ["power"] }, { uuid: "GPU-2" }] },
    { id: "b", gpus: [] },
    { id: null, gpus: [{ uuid: "GPU-3", temperature: null, reasons: [[1]] }] },
  ],
};

describe("neededValues", () => {
  it.each<[object, boolean]>([
    [{}, true],
    [{ clusterId: "c1" }, true],
    [{ clusterId: "c2" }, false],
    [{ clusterId: { $in: ["c0", "c2"] } }, false],
    [{ $and: [{ clusterId: "c1" }, { "nodes.id": "c" }] }, false],
    [{ "nodes.gpus.uuid": "GPU-3" }, true],
    [{ "nodes.gpus.uuid": "GPU-4" }, false],
    [{ "nodes.gpus.uuid": { $gt: "GPU-9" } }, true],
    [{ "nodes.gpus.temperature": { $gte: 40, $lt: 41 } }, true],
    [{ "nodes.gpus.temperature": { $gt: 40 } }, false],
    [{ "nodes.gpus.temperature": { $gt: 40, $exists: false } }, false],
    [{ nodes: { $elemMatch: { id: "a", "gpus.uuid": "GPU-9" } } }, false],
    [{ nodes: { $elemMatch: { id: "b", "gpus.uuid": "GPU-1" } } }, true],
    // What an absent or another value can pass is left to the filter.
    [{ clusterId: { $ne: "c1" } }, true],
    [{ clusterId: { $not: { $eq: "c1" } } }, true],
    [{ clusterId: null }, true],
    [{ clusterId: { $in: ["c0", null] } }, true],
    [{ nothing: "x" }, true],
    [{ "nodes.gpus.reasons": "heat" }, true],
    [{ "nodes.0.id": "z" }, true],
    [{ $or: [{ clusterId: "c2" }] }, true],
    [{ age_ms: { $lt: 0 } }, true],
  ])("of %j leaves the document: %j", (filter, expected) => {
    expect(mayMatch(filter as Record<string, unknown>, cluster)).toBe(expected);
  });

  it("puts what is cheap to look at first", () => {
    const filter = { "nodes.id": "a", "node_metrics.id": "a", clusterId: "c1", total_cpu: 1 };
    const paths = neededValues(filter).map(({ path }) => path);
    expect(paths).toEqual(["clusterId", "total_cpu", "nodes.id", "node_metrics.id"]);
  });

  it("never takes out a document that the filter matches", () => {
    const scalar = fc.constantFrom<unknown>(0, 1, 2, "1", "a", "", true, false, null);
    const leaf = fc.oneof(scalar, fc.array(scalar, { maxLength: 2 }), fc.constant([[1]]));
    const node = fc.record({ x: leaf, y: fc.array(fc.record({ z: leaf }, { requiredKeys: [] })) });
    const document = fc.record({ x: leaf, nodes: fc.array(node) });
    const operand = fc.oneof(scalar, fc.constant([1]), fc.constant({ z: 1 }));
    const operator = fc.constantFrom("$eq", "$ne", "$gt", "$gte", "$lt", "$lte");
    const comparison = fc.oneof(
      operand,
      fc.tuple(operator, operand).map(([name, value]) => ({ [name]: value })),
      fc.array(scalar).map((values) => ({ $in: values })),
      fc.array(scalar).map((values) => ({ $nin: values })),
    );
    const path = fc.constantFrom("x", "nodes.x", "nodes.y.z", "nodes.y", "nodes.0.x", "nodes");
    const fields = fc.dictionary(path, comparison, { maxKeys: 2 });
    const items = fc
      .dictionary(fc.constantFrom("x", "y.z"), comparison, { minKeys: 1, maxKeys: 2 })
      .map((condition) => ({ nodes: { $elemMatch: condition } }));
    const filter = fc.oneof(fields, items, fc.record({ $and: fc.tuple(fields, items) }));
    fc.assert(
      fc.property(filter, document, (asked, of) => {
        const matches = compileFilter(asked)(of);
        if (matches) expect(mayMatch(asked, of)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("MetricsColumns", () => {
  it("remembers the values at 8 paths", () => {
    let reads = 0;
    const document = {
      get x() {
        reads += 1;
        return 1;
      },
    };
    const columns = new MetricsColumns(document);
    const need = (path: string) => ({ path, keys: path.split("."), test: () => true });
    for (let time = 0; time < 3; time += 1) columns.mayHold(need("x"));
    expect(reads).toBe(1);
    for (let path = 0; path < 8; path += 1) columns.mayHold(need(`y${path}`));
    columns.mayHold(need("x"));
    expect(reads).toBe(2);
  });
});
