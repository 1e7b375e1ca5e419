import { compileFilter, filterObject } from "@berth/service-kit";
import type { MetricsDocument } from "./global-metrics-document.ts";
import { neededValues } from "./metrics-needs.ts";

/** A compiled filter over the metrics of clusters. */
export interface MetricsQuery {
  /** A quick look: false only for documents that do not match. */
  readonly mayMatch: (document: MetricsDocument) => boolean;
  readonly matches: (document: MetricsDocument) => boolean;
}

/**
 * Compiles a MongoDB-style filter over metrics documents (`MetricsDocument.fields`). INVALID_ARGUMENT names the
 * field that the filter is from, and the operator or limit.
 */
export function compileMetricsQuery(filter: unknown, field: string): MetricsQuery {
  const conditions = filterObject(filter, field);
  const matches = compileFilter(conditions, field);
  const needs = neededValues(conditions);
  return {
    mayMatch: ({ columns }) => needs.every((need) => columns.mayHold(need)),
    matches: ({ fields }) => matches(fields),
  };
}
