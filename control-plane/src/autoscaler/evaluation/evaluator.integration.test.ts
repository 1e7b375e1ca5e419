import { BerthError, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  deciding,
  EvaluatedOrg,
  evaluate,
  type Given,
  replicasOf,
  settled,
} from "../../testing/evaluated-org.ts";
import type { TakenReport } from "./taken-report.ts";

let org: EvaluatedOrg;
beforeEach(() => {
  org = new EvaluatedOrg();
});
afterEach(() => org.close());

describe("an evaluation", () => {
  it("asks for what the workflow wants, and says why", async () => {
    const scaling = await org.ready(() => ({ a: { replicas: 3, reason: "busy" }, b: 1 }), {
      subjects: ["a", "b", "c"],
    });
    const { summary, decisions } = await evaluate(scaling);
    expect(summary).toMatchObject({ state: "done", workflow_id: "w", workflow_revision: 1 });
    expect(summary.decisions).toMatchObject({ change: 1, keep: 2 });
    const [first, second, third] = decisions;
    expect(first).toMatchObject({
      subject_id: "a",
      quota_id: "q-a",
      kind: "change",
      current: 1,
      wanted: 3,
      replicas: 3,
    });
    expect(first?.why).toMatch(/3/);
    expect(second).toMatchObject({ subject_id: "b", kind: "keep", wanted: 1, replicas: 1 });
    expect(third).toMatchObject({
      subject_id: "c",
      kind: "keep",
      why: "the workflow did not name it: 1 desired",
    });
    const request = await settled(scaling, first?.uuid);
    expect(request).toMatchObject({
      state: "confirmed",
      origin: "autoscaler",
      evaluationId: summary.evaluation_id,
    });
    expect(request.reason).toContain("busy");
    expect(replicasOf(scaling)).toBe(3);
  });

  it("gives modules the report, quotas, replicas and the configuration", async () => {
    let given: { input: Given; parameters: Record<string, unknown> } | undefined;
    const report = (): TakenReport => ({
      dataJson:
        '{"cluster_metrics":{"gpus":8.0},"subjects":{"quotas":{"a":[{"quota_id":"q-a"}]},"metrics":{}}}',
      ageMs: 0,
    });
    const scaling = await org.ready(
      (input, parameters) => {
        given = { input, parameters };
        return {};
      },
      { report },
    );
    await scaling.settings.config.merge({ threshold: 0.9 });
    await evaluate(scaling);
    expect(given?.input).toMatchObject({
      metrics: { cluster_metrics: { gpus: 8 } },
      quotas: { a: [{ quota_id: "q-a" }] },
      replicas: { a: 1 },
      previous_outputs: {},
    });
    expect(given?.parameters).toMatchObject({
      threshold: 0.9,
      globalParameters: { threshold: 0.9 },
    });
  });

  it("is held without a workflow, and until the fleet was heard", async () => {
    const scaling = await org.open({});
    expect((await evaluate(scaling)).summary).toMatchObject({
      state: "held",
      reason: expect.stringMatching(/no workflow is set/),
    });
    await scaling.settings.rules.merge({ workflow_id: "w" });
    expect((await evaluate(scaling)).summary).toMatchObject({
      state: "held",
      reason: 'there is no workflow "w"',
    });
    const missing = ["eu-1"];
    const other = await org.ready(() => ({ a: 2 }), {
      store: openSqliteDocumentStore(":memory:", systemClock),
      missingClusters: () => missing,
    });
    expect((await evaluate(other)).summary.reason).toMatch(/waits for clusters .*: eu-1$/);
    expect(replicasOf(other)).toBe(1);
    missing.pop();
    expect((await evaluate(other)).summary.state).toBe("done");
  });

  it("changes nothing when the workflow, its result or the report fails", async () => {
    let result: unknown = 7;
    let report = (): TakenReport => ({ dataJson: '{"subjects":{}}', ageMs: 0 });
    const scaling = await org.ready(
      () => {
        if (result === "raise") throw new BerthError("POLICY_FAILED", "division by zero");
        return result;
      },
      { report: () => report() },
    );
    expect((await evaluate(scaling)).summary).toMatchObject({
      state: "failed",
      reason: expect.stringMatching(/expected an object of subjects/),
    });
    result = "raise";
    const raised = await evaluate(scaling);
    expect(raised.summary).toMatchObject({
      ...{ state: "failed", decisions: { keep: 1 } },
      reason: "module m: division by zero (POLICY_FAILED)",
    });
    expect(raised.decisions).toEqual([
      {
        ...{ subject_id: "a", quota_id: "q-a", kind: "keep" },
        ...{ current: 1, wanted: null, replicas: 1 },
        why: "failed: module m: division by zero (POLICY_FAILED): 1 desired",
      },
    ]);
    report = () => {
      throw new BerthError("UNAVAILABLE", "no report");
    };
    expect((await evaluate(scaling)).summary).toMatchObject({
      state: "failed",
      reason: "no report (UNAVAILABLE)",
    });
    expect(scaling.scale.all()).toEqual([]);
  });

  it("refuses subjects one by one", async () => {
    const wanted = { a: 2, b: 1.5, c: true, none: 1, d: -1, e: "3" };
    const scaling = await org.ready(() => wanted, { subjects: ["a", "b", "c", "d", "e"] });
    await scaling.books.quotas.create({ subject_id: "c", quota_id: "q-c2" });
    const { decisions } = await evaluate(scaling);
    const kinds = Object.fromEntries(decisions.map(({ subject_id, kind }) => [subject_id, kind]));
    expect(kinds).toEqual({
      a: "change",
      b: "refused",
      c: "refused",
      d: "refused",
      e: "refused",
      none: "refused",
    });
    const of = (id: string) => decisions.find(({ subject_id }) => subject_id === id);
    expect(of("none")?.why).toBe("it has no quota");
    expect(of("b")).toMatchObject({ quota_id: "q-b", current: 1, replicas: 1, wanted: null });
    expect(of("c")).toMatchObject({ quota_id: null, current: null });
  });

  it("brings subjects within the bounds of quota and profile", async () => {
    const scaling = await org.ready(() => ({ a: 50 }));
    await scaling.books.quotas.change("q-a", {
      max_replicas: 20,
      allocation_info: '{"max_replicas": 6}',
    });
    const { decisions } = await evaluate(scaling);
    expect(decisions[0]).toMatchObject({ kind: "change", wanted: 50, replicas: 6 });
    expect(decisions[0]?.steps?.[0]).toMatchObject({ rule: "max_replicas", from: 50, to: 6 });
  });

  it("asks for what fits where a quota has no room for all", async () => {
    const scaling = await org.ready(() => ({ a: 10 }), { subjects: [] });
    const { quotas } = scaling.books;
    await quotas.create({ quota_id: "team", nominal: { H100: 8 }, limit: { H100: 8 } });
    const info = '{"gpus_per_replica": {"H100": 2}}';
    await quotas.create({
      subject_id: "a",
      quota_id: "q-a",
      parent_id: "team",
      allocation_info: info,
    });
    const { decisions } = await evaluate(scaling);
    expect(decisions[0]).toMatchObject({
      kind: "change",
      wanted: 10,
      replicas: 4,
      why: expect.stringMatching(/4 GPUs|8 GPUs/),
    });
    expect((await settled(scaling, decisions[0]?.uuid)).state).toBe("confirmed");
    const again = await evaluate(scaling);
    expect(again.decisions[0]).toMatchObject({
      kind: "refused",
      replicas: 4,
      why: expect.stringMatching(/quota "team" has a/),
    });
    expect(replicasOf(scaling)).toBe(4);
  });

  it("asks for nothing in the shadow, by rule or by request, and when it is paused", async () => {
    const scaling = await org.ready(() => ({ a: 3 }));
    expect((await evaluate(scaling, true)).decisions[0]).toMatchObject({
      kind: "shadow",
      replicas: 3,
    });
    await scaling.settings.rules.merge({ guards: { shadow: true } });
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({ kind: "shadow", replicas: 3 });
    await scaling.settings.rules.merge({ guards: { shadow: null, paused: true } });
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({
      kind: "keep",
      why: expect.stringMatching(/paused/),
    });
    await scaling.settings.rules.merge({
      guards: { paused: null },
      subjects: { a: { paused: true } },
    });
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({
      kind: "keep",
      why: expect.stringMatching(/paused/),
    });
    expect(scaling.scale.all()).toEqual([]);
  });

  it("holds subjects whose input is stale, and those only", async () => {
    const metrics = { a: { age_seconds: 400 }, b: { age_seconds: 5 } };
    const report = () => ({ dataJson: JSON.stringify({ subjects: { metrics } }), ageMs: 1_000 });
    const scaling = await org.ready(() => ({ a: 3, b: 3 }), { subjects: ["a", "b"], report });
    const { decisions } = await evaluate(scaling);
    expect(decisions.map(({ kind }) => kind)).toEqual(["keep", "change"]);
    expect(decisions[0]?.why).toMatch(/6 min 41 s/);
  });

  it("keeps rates over a restart", async () => {
    const guards = {
      scale_up: { rate_policies: [{ type: "replicas", value: 2, period_seconds: 3_600 }] },
    };
    const before = await org.ready(() => ({ a: 10 }), { guards });
    const first = (await evaluate(before)).decisions[0];
    expect(first).toMatchObject({ kind: "change", replicas: 3 });
    await settled(before, first?.uuid);
    await before.stop();
    const after = await org.open({ runModule: deciding(() => ({ a: 10 })) });
    expect((await evaluate(after)).decisions[0]).toMatchObject({
      kind: "keep",
      replicas: 3,
      why: expect.stringMatching(/at most 2 replicas more/),
    });
  });

  it("scales nothing down right after a start: what is desired counts as wanted then", async () => {
    const guards = { scale_down: { stabilization_seconds: 300 } };
    const scaling = await org.ready(() => ({ a: 0 }), { guards });
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({
      kind: "keep",
      why: expect.stringMatching(/5 min/),
    });
  });

  it("is remembered over a restart with its decisions and its report", async () => {
    const before = await org.ready(() => ({ a: 2 }), {
      report: () => ({ dataJson: '{"subjects":{},"n":1.0}', ageMs: 0 }),
    });
    const { summary } = await evaluate(before);
    await before.stop();
    const after = await org.open({});
    expect(after.log.list()).toEqual([summary]);
    const { evaluation_id: id } = summary;
    expect((await after.log.get(id)).decisions[0]).toMatchObject({
      subject_id: "a",
      kind: "change",
    });
    expect(await after.log.reportOf(id)).toBe('{"subjects":{},"n":1.0}');
    const found = await after.log.decisions({ subjectId: "a", limit: 10 });
    expect(found).toMatchObject([{ evaluation_id: id, at: summary.started_at, replicas: 2 }]);
    await evaluate(after);
    const [newest] = await after.log.decisions({ subjectId: "a", limit: 1 });
    expect(newest).toMatchObject({
      kind: "keep",
      why: expect.stringMatching(/^failed: module m: /),
    });
  });
});
