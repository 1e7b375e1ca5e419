import { describe, expect, it } from "vitest";
import { explainView } from "./explain-view.ts";

const failed = {
  decision_id: "01a2",
  decided_at: "2030-01-01T00:00:00.000Z",
  outcome: "failed",
  policy_rule_uri: "least-loaded:1.0.0-stable",
  policy_digest: "a".repeat(64),
  inputs_digest: "b".repeat(64),
  selection: "search",
  inventory_revision: 42,
  candidates: ["c1"],
  dropped: [{ id: "c2", reason: "the filter does not match" }],
  dropped_more: 0,
  warnings: [],
  data: null,
  error: { reason: "POLICY_FAILED", message: "policy rank:1-t raised ValueError: no" },
  attempts: 0,
  assume_seconds: 0,
  timings_ms: { total: 9, queued: 0, policy: 0, policy_cpu: 0 },
  policy_log: "",
};
const ranking = {
  policy_rule_uri: "rank:1-t",
  policy_digest: "c".repeat(64),
  timings_ms: { queued: 1, policy: 5, policy_cpu: 4 },
  policy_log: "ranked\nthem\n",
};

describe("explainView", () => {
  it("shows what ranked the candidates, how long it took, and what it printed", () => {
    const shown = explainView({ ...failed, ranking });
    expect(shown).toContain(
      "ranking    rank:1-t (cccccccccccc): queued 1 ms, ran 5 ms (CPU 4)\ninputs ",
    );
    expect(shown).toContain("\nranking log\n  ranked\n  them\n");
    expect(shown).toContain("outcome    failed; the policy did not run\nerror      POLICY_FAILED");
    expect(shown).toContain("inventory  revision 42\n");
    expect(shown).toContain("candidates 1: c1\n");
    expect(shown).toContain("the filter does not match");
    expect(shown).not.toContain("policy log");
  });

  it("says that a ranking policy did not run", () => {
    const unknown = { ...ranking, policy_digest: null, timings_ms: null, policy_log: "" };
    const shown = explainView({ ...failed, ranking: unknown });
    expect(shown).toContain("ranking    rank:1-t (-): did not run\n");
    expect(shown).not.toContain("ranking log");
  });

  it("says nothing of a ranking where there is none", () => {
    const shown = explainView({ ...failed, outcome: "placed", attempts: 2, policy_log: "x\n" });
    expect(shown).not.toContain("ranking");
    expect(shown).toContain("outcome    placed after 2 runs\n");
    expect(shown).toContain("\npolicy log\n  x\n");
  });
});
