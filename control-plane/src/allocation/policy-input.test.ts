import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { aView } from "../testing/documents.ts";
import { deepMerge, policyInputJson } from "./policy-input.ts";

describe("policyInputJson", () => {
  it("gives each candidate's document, and its metrics under both names", () => {
    const view = aView('c"1');
    const input = JSON.parse(policyInputJson([view], '{"gpus":2}'));
    expect(input).toEqual({
      cluster_data: {
        'c"1': {
          data: view.document,
          cluster_metrics: JSON.parse(view.metricsJson ?? ""),
          metrics: JSON.parse(view.metricsJson ?? ""),
        },
      },
      inputs: { gpus: 2 },
    });
  });

  it("gives null for metrics that nobody reported, and an empty pool as it is", () => {
    const view = { ...aView("c1"), metricsJson: null };
    expect(JSON.parse(policyInputJson([view], "null")).cluster_data.c1.metrics).toBeNull();
    expect(policyInputJson([], "10.0")).toBe('{"cluster_data":{},"inputs":10.0}');
  });
});

describe("deepMerge", () => {
  it("lets the request's values win, object by object", () => {
    const defaults = { a: 1, b: { c: 2, d: [1, 2] }, e: { f: 1 } };
    const overrides = { a: 5, b: { d: [3] }, e: null };
    expect(deepMerge(defaults, overrides)).toEqual({ a: 5, b: { c: 2, d: [3] }, e: null });
  });

  it("keeps raw numbers and treats __proto__ as a plain key", () => {
    const overrides = parseLossless('{"x":10.0,"__proto__":{"polluted":true}}');
    const merged = deepMerge({ x: 1 }, overrides as Record<string, unknown>);
    expect(JSON.stringify(merged)).toBe('{"x":10.0,"__proto__":{"polluted":true}}');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
