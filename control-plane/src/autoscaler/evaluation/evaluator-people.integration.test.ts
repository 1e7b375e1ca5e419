import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EvaluatedOrg, evaluate, FREE, replicasOf, settled } from "../../testing/evaluated-org.ts";

let org: EvaluatedOrg;
beforeEach(() => {
  org = new EvaluatedOrg();
});
afterEach(() => org.close());

describe("an evaluation beside people", () => {
  it("withdraws what waits for a human when the workflow does not want it any more, or at pause", async () => {
    let wanted = 4;
    const guards = { approval: { replicas_above: 2 } };
    const scaling = await org.ready(() => ({ a: wanted }), { guards });
    const waiting = async () => {
      const { decisions } = await evaluate(scaling);
      expect(decisions[0]?.kind).toBe("needs_approval");
      return decisions[0]?.uuid ?? "";
    };
    const first = await waiting();
    await evaluate(scaling, true);
    expect(scaling.scale.get(first)?.state).toBe("awaiting_approval");
    wanted = 1;
    await evaluate(scaling);
    expect(scaling.scale.get(first)).toMatchObject({
      state: "superseded",
      reason: expect.stringMatching(/; withdrawn: no change: 1 wanted, 1 desired/),
    });
    wanted = 4;
    const second = await waiting();
    await scaling.settings.rules.merge({ guards: { ...FREE, ...guards, paused: true } });
    await evaluate(scaling);
    expect(scaling.scale.get(second)?.state).toBe("superseded");
    expect(scaling.scale.open()).toEqual([]);
  });

  it.each([
    ["is paused", { guards: { paused: true } }, /it is paused$/],
    ["is in shadow mode", { subjects: { a: { shadow: true } } }, /it is in shadow mode$/],
    ["has no workflow", { workflow_id: null }, /no workflow is set$/],
    ["has a workflow that is not there", { workflow_id: "gone" }, /there is no workflow "gone"$/],
  ])(
    "lets nobody agree while the autoscaler %s, and withdraws the question",
    async (_, rules, why) => {
      const guards = { approval: { replicas_above: 2 } };
      const scaling = await org.ready(() => ({ a: 4 }), { guards });
      const uuid = (await evaluate(scaling)).decisions[0]?.uuid ?? "";
      expect(scaling.scale.get(uuid)?.state).toBe("awaiting_approval");
      await scaling.settings.rules.merge(rules);
      await expect(scaling.scaling.decide(uuid, true, "ops")).rejects.toMatchObject({
        reason: "CONFLICT",
        message: expect.stringMatching(why),
      });
      await scaling.scaling.reviewApprovals(Date.now());
      expect(scaling.scale.get(uuid)).toMatchObject({
        state: "superseded",
        reason: expect.stringMatching(why),
      });
      const late = scaling.ask("a", 3, { origin: "autoscaler", judgedAt: 1 });
      await expect(late).rejects.toMatchObject({ reason: "CONFLICT" });
      expect(replicasOf(scaling)).toBe(1);
    },
  );

  it.each([
    ["is not named", {}],
    ["is refused", { a: -1 }],
  ])("withdraws what waits for a human when its subject %s any more", async (_, then) => {
    let output: Record<string, number> = { a: 4 };
    const guards = { approval: { replicas_above: 2 } };
    const scaling = await org.ready(() => output, { guards });
    const uuid = (await evaluate(scaling)).decisions[0]?.uuid ?? "";
    output = then;
    await evaluate(scaling, true);
    expect(scaling.scale.get(uuid)?.state).toBe("awaiting_approval");
    await evaluate(scaling);
    expect(scaling.scale.get(uuid)?.state).toBe("superseded");
  });

  it("remembers each refusal, whatever was asked for in between", async () => {
    let wanted = 6;
    const guards = { approval: { replicas_above: 4 } };
    const scaling = await org.ready(() => ({ a: wanted }), { guards });
    const refuse = async () => {
      const uuid = (await evaluate(scaling)).decisions[0]?.uuid ?? "";
      await scaling.scaling.decide(uuid, false, "ops");
    };
    await refuse();
    wanted = 7;
    await refuse();
    wanted = 2;
    await settled(scaling, (await evaluate(scaling)).decisions[0]?.uuid);
    for (const again of [6, 7]) {
      wanted = again;
      expect((await evaluate(scaling)).decisions[0]).toMatchObject({
        kind: "keep",
        why: `${again} replicas were not approved a moment ago`,
      });
    }
  });

  it("leaves a request of somebody else alone that came while it was made", async () => {
    const scaling = await org.ready(() => ({}), { subjects: ["a", "b"] });
    const { uuid } = await scaling.ask("b", 2, { approvalWithinMs: 60_000 });
    await expect(scaling.ask("b", 5, { origin: "autoscaler", judgedAt: 1 })).rejects.toMatchObject({
      reason: "CONFLICT",
    });
    await expect(scaling.ask("a", 5, { origin: "autoscaler", judgedAt: 3 })).rejects.toMatchObject({
      message:
        'quota "q-a" was changed meanwhile: 3 replicas were desired when it was judged, 1 now',
    });
    expect(scaling.scale.open().map((one) => one.uuid)).toEqual([uuid]);
  });

  it("waits for a human above a threshold, and does not ask again at once who refused", async () => {
    const scaling = await org.ready(() => ({ a: 6 }), {
      guards: { approval: { replicas_above: 4 } },
    });
    const first = (await evaluate(scaling)).decisions[0];
    expect(first).toMatchObject({ kind: "needs_approval", replicas: 6 });
    expect(scaling.scale.get(first?.uuid ?? "")?.state).toBe("awaiting_approval");
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({
      kind: "keep",
      why: expect.stringMatching(/6 replicas wait for approval/),
    });
    await scaling.scaling.decide(first?.uuid ?? "", false, "ops");
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({
      kind: "keep",
      why: expect.stringMatching(/were not approved/),
    });
    await scaling.settings.rules.merge({
      approval_seconds: 1,
      guards: { approval: { replicas_above: 5 } },
    });
    const at = Date.now();
    while (Date.now() - at < 1_100) await new Promise((resolve) => setImmediate(resolve));
    const second = (await evaluate(scaling)).decisions[0];
    expect(second).toMatchObject({ kind: "needs_approval" });
    await scaling.scaling.decide(second?.uuid ?? "", true, "ops");
    expect((await settled(scaling, second?.uuid)).state).toBe("confirmed");
    expect(replicasOf(scaling)).toBe(6);
  });

  it("asks no human for what a quota has no room for", async () => {
    const guards = { approval: { replicas_above: 2 } };
    const scaling = await org.ready(() => ({ a: 9 }), { subjects: [], guards });
    const info = '{"gpus_per_replica": {"H100": 1}}';
    const quota = { subject_id: "a", quota_id: "q-a", allocation_info: info };
    await scaling.books.quotas.create({ ...quota, nominal: { H100: 5 }, limit: { H100: 5 } });
    const { decisions } = await evaluate(scaling);
    expect(decisions[0]).toMatchObject({ kind: "needs_approval", wanted: 9, replicas: 5 });
    expect(scaling.scale.open()).toMatchObject([{ replicas: 5, state: "awaiting_approval" }]);
  });

  it("gives up what waits for a human when the workflow wants what needs nobody", async () => {
    let wanted = 6;
    const guards = { approval: { replicas_above: 4 } };
    const scaling = await org.ready(() => ({ a: wanted }), { guards });
    const first = (await evaluate(scaling)).decisions[0];
    wanted = 7;
    expect((await evaluate(scaling)).decisions[0]).toMatchObject({
      ...{ kind: "keep", wanted: 7, why: "6 replicas wait for approval" },
    });
    wanted = 2;
    const second = (await evaluate(scaling)).decisions[0];
    expect(second).toMatchObject({ kind: "change", replicas: 2 });
    expect(scaling.scale.get(first?.uuid ?? "")?.state).toBe("superseded");
    expect((await settled(scaling, second?.uuid)).state).toBe("confirmed");
  });
});
