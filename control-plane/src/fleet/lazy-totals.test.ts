import type { ClusterTotals } from "@berth/proto";
import { expect, it } from "vitest";
import { withLazyTotals } from "./lazy-totals.ts";

const totals: ClusterTotals = {
  ...{ total_cpu: 96, used_cpu: 12.5, total_memory: 1_000, used_memory: 10 },
  ...{ total_gpus: 8, gpu_utilization: null },
};

it("shows the six totals beside what is there, as members of its own", () => {
  const document = withLazyTotals({ id: "c" }, () => totals);
  expect({ ...document }).toEqual({ id: "c", ...totals });
  expect(JSON.parse(JSON.stringify(document))).toEqual({ id: "c", ...totals });
  const { id: _id, ...rest } = document;
  expect(rest).toEqual(totals);
});

it("works them out when one is asked for, and not before", () => {
  let asked = 0;
  const document = withLazyTotals({ health: "live" }, () => {
    asked += 1;
    return totals;
  });
  expect([document.health, Object.keys(document).length, asked]).toEqual(["live", 7, 0]);
  expect(document.used_cpu).toBe(12.5);
  expect(asked).toBe(1);
});
