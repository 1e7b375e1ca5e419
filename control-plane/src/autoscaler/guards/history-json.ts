import { parse } from "@berth/service-kit";
import { Type } from "typebox";
import type { ChangeSpan } from "./change-spans.ts";
import type { Recommendation } from "./recommendations.ts";
import type { SubjectHistory } from "./subject-history.ts";

const COUNT = Type.Integer({ minimum: 0 });
const DIRECTION = Type.Union([Type.Literal("up"), Type.Literal("down")]);
const HISTORY = Type.Object({
  recommendations: Type.Array(Type.Object({ at_ms: Type.Number(), lowest: COUNT, highest: COUNT })),
  changes: Type.Array(
    Type.Object({
      ...{ first_ms: Type.Number(), last_ms: Type.Number(), from: COUNT, to: COUNT },
      ...{ added: COUNT, removed: COUNT, reversals: COUNT, begins: DIRECTION, ends: DIRECTION },
    }),
  ),
});

/** A history as plain JSON, to be stored. */
export function showHistory({ recommendations, changes }: SubjectHistory): Record<string, unknown> {
  return {
    recommendations: recommendations.map(({ atMs, lowest, highest }: Recommendation) => ({
      ...{ at_ms: atMs, lowest, highest },
    })),
    changes: changes.map(({ firstMs, lastMs, ...rest }: ChangeSpan) => ({
      ...{ first_ms: firstMs, last_ms: lastMs, ...rest },
    })),
  };
}

/**
 * Reads what {@link showHistory} gave. INVALID_ARGUMENT names the field that is not as it should
 * be. What is too long is bounded by the first guard that looks at it.
 */
export function readHistory(value: unknown): SubjectHistory {
  const { recommendations, changes } = parse(HISTORY, value);
  return {
    recommendations: recommendations.map(({ at_ms, lowest, highest }) => ({
      ...{ atMs: at_ms, lowest, highest },
    })),
    changes: changes.map(({ first_ms, last_ms, from, to, added, removed, ...rest }) => ({
      ...{ firstMs: first_ms, lastMs: last_ms, from, to, added, removed },
      ...{ reversals: rest.reversals, begins: rest.begins, ends: rest.ends },
    })),
  };
}
