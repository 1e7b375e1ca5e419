import { describe, expect, it } from "vitest";
import { renderTable } from "../client/table.ts";
import {
  hasUnschedulable,
  placementView,
  policiesView,
  policyView,
  publishedView,
} from "./views.ts";

function shown(view: ReturnType<typeof placementView>): string {
  return typeof view === "string" ? view : renderTable(view);
}

const placed = { cluster_id: "c", node_id: "n", gpus: ["0", "3"] };
const refused = { cluster_id: null, unschedulable: true, reasons: ["c/n: no GPU", "d: gone"] };

describe("placementView", () => {
  it("shows cluster, node and GPUs", () => {
    expect(shown(placementView(placed))).toBe("CLUSTER  NODE  GPUS\nc        n     0,3\n");
    expect(shown(placementView({ cluster_id: "c" }))).toBe(
      "CLUSTER  NODE  GPUS\nc        -     -\n",
    );
  });

  it("shows the reasons when nothing fits", () => {
    expect(shown(placementView(refused))).toBe("unschedulable\n  c/n: no GPU\n  d: gone\n");
    expect(shown(placementView(null))).toBe("unschedulable\n  the policy gave no reason\n");
  });

  it("shows a list with one row per request", () => {
    expect(shown(placementView([placed, refused]))).toBe(
      "CLUSTER        NODE                  GPUS\n" +
        "c              n                     0,3\n" +
        "unschedulable  c/n: no GPU; d: gone  -\n",
    );
  });

  it.each<[unknown, boolean]>([
    [placed, false],
    [refused, true],
    [null, true],
    [{}, true],
    [[placed], false],
    [[placed, refused], true],
    [[], false],
  ])("tells whether %j found no place", (data, expected) => {
    expect(hasUnschedulable(data)).toBe(expected);
  });
});

describe("policies", () => {
  const record = {
    policy_rule_uri: "a:1-s",
    type: "allocator",
    description: "",
    metadata: { k: 1 },
  };

  it("are listed with type and description", () => {
    expect(renderTable(policiesView([record]))).toBe(
      "POLICY  TYPE       DESCRIPTION\na:1-s   allocator  -\n",
    );
  });

  it("are shown field by field without the empty ones", () => {
    expect(policyView(record).rows).toEqual([
      ["policy_rule_uri", "a:1-s"],
      ["type", "allocator"],
      ["metadata", '{"k":1}'],
    ]);
  });

  it("are named after a publish", () => {
    expect(publishedView({ policy_rule_uri: "a:1-s", digest: "d" })).toBe("published a:1-s (d)\n");
  });
});
