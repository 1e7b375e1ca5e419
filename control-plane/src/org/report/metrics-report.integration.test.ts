import { openSqliteDocumentStore, Pacer, silentLogger, systemClock } from "@berth/service-kit";
import { expect, it } from "vitest";
import { openTestOrg, TEST_ORG } from "../../testing/org-fixture.ts";
import { MetricsReport } from "./metrics-report.ts";

it("has what was written while another one was made, and is one for all who ask meanwhile", async () => {
  const store = openSqliteDocumentStore(":memory:", systemClock);
  const { org } = await openTestOrg(store);
  const queries: (() => void)[] = [];
  const report = new MetricsReport({
    ...org,
    ...{ orgId: TEST_ORG, clock: systemClock, pace: new Pacer(), logger: silentLogger },
    metrics: {
      query: async () => {
        await new Promise<void>((resolve) => queries.push(resolve));
        return [];
      },
    },
    unheard: async () => [],
  });
  const before = report.text();
  await org.quotas.create({ quota_id: "q", subject_id: "s" });
  const behind = [report.text(), report.text()];
  expect(queries).toHaveLength(1);
  queries[0]?.();
  await before;
  await expect.poll(() => queries.length).toBe(2);
  const last = report.text();
  queries[1]?.();
  const [one = "", other] = await Promise.all(behind);
  expect(one).toBe(other);
  expect(Object.keys(JSON.parse(one).data.subjects.quotas)).toEqual(["s"]);
  await expect.poll(() => queries.length).toBe(3);
  queries[2]?.();
  await last;
  await store.close();
});
