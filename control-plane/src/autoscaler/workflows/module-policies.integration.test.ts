import { createSandbox, PolicyContexts, type Sandbox } from "@berth/policy-sandbox";
import { STATE_DIR } from "@berth/policy-sandbox/testing/state-dir";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PolicyRegistry } from "../../policies/policy-registry.ts";
import { readDecision } from "./decision.ts";
import { type ModuleChecks, moduleChecks } from "./module-checks.ts";
import { modulePolicies } from "./module-policies.ts";
import { readWorkflow } from "./workflow.ts";
import { WorkflowRunner } from "./workflow-runner.ts";

const ORG = "o";
const never = new AbortController().signal;
let store: DocumentStore;
let sandbox: Sandbox;
let runner: WorkflowRunner;
let checks: ModuleChecks;
let policies: PolicyRegistry;

const CHECK = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.limit = parameters["limit"]
    def eval(self, parameters, input_data, context):
        context["runs"] = context.get("runs", 0) + 1
        busy = [s for s, load in input_data["metrics"].items() if load > self.limit]
        return {"busy": busy, "runs": context["runs"]}
`;
const DECIDE = `class AgentSpaceV1PolicyRule:
    def __init__(self, rule_id, settings, parameters, global_settings, global_parameters, global_state):
        self.step = parameters["step"]
        self.most = global_parameters["most"]
        self.zone = global_settings["zone"]
    def eval(self, parameters, input_data, context=None):
        busy = input_data["previous_outputs"]["check"]["busy"]
        return {s: {"replicas": min(self.step, self.most), "reason": self.zone} for s in busy}
`;

beforeAll(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  sandbox = createSandbox({ stateDir: STATE_DIR });
  await sandbox.ready();
  const contexts = new PolicyContexts({ store, logger: silentLogger });
  policies = new PolicyRegistry({ store, sandbox, contexts });
  const record = { name: "check", version: "1", release_tag: "t", code: CHECK };
  const text = JSON.stringify({ ...record, policy_parameters: { limit: 0.9 } });
  await policies.publish(ORG, JSON.parse(text), text);
  const caps = { wallMs: 30_000, cpuMs: 20_000, memoryMiB: 256 };
  const runModule = modulePolicies({ orgId: ORG, policies, sandbox, contexts, caps });
  runner = new WorkflowRunner({ runModule, clock: systemClock });
  checks = moduleChecks({ orgId: ORG, policies, sandbox });
});
afterAll(async () => {
  await sandbox.close();
  await store.close();
});

const inline = (lines: string) => {
  const body = lines.replaceAll("\n", "\n        ");
  return `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters): pass
    def eval(self, parameters, input_data, context):
        ${body}
`;
};
const run = (body: object, input: object = {}, config = {}) =>
  runner.run(readWorkflow(body), JSON.stringify(input), {
    signal: never,
    globalParameters: config,
  });
const single = (fields: object) =>
  run({ workflow_id: "w", modules: { m: fields }, graph: { m: [] } });

describe("modules in the sandbox", () => {
  const workflow = {
    workflow_id: "autoscale",
    ...{ globalParameters: { step: 1, most: 5 }, globalSettings: { zone: "UTC" } },
    modules: { check: { codePath: "check:1-t" }, decide: { code: DECIDE } },
    graph: { check: ["decide"] },
  };
  const input = { metrics: { a: 0.95, b: 0.5 } };

  it("of both classes run one after the other, and the config's keys reach both", async () => {
    const first = await run(workflow, input, { step: 9 });
    expect(first).toMatchObject({
      ...{ kind: "done", outputs: { check: { busy: ["a"], runs: 1 } } },
      facts: [
        { module: "check", attempts: 1 },
        { module: "decide", attempts: 1 },
      ],
    });
    const output = first.kind === "done" ? first.output : undefined;
    expect(readDecision(output, "decide")).toEqual({
      kind: "read",
      changes: [{ subjectId: "a", replicas: 5, reason: "UTC" }],
      refusals: [],
    });
    const second = await run(workflow, input, { step: 3, limit: 0.4 });
    expect(second).toMatchObject({
      ...{ output: { a: { replicas: 3 }, b: { replicas: 3 } }, outputs: { check: { runs: 2 } } },
    });
  });

  it("fail with what the policy raised, after the attempts that may help", async () => {
    const code = inline("raise ValueError('no metrics')");
    const outcome = await single({ code, retries: 1 });
    expect(outcome).toMatchObject({
      ...{ kind: "failed", module: "m", facts: [{ attempts: 2 }] },
      error: {
        reason: "POLICY_FAILED",
        message: "policy workflow/w/m raised ValueError: no metrics (function.py:4)",
      },
    });
  });

  it("are not tried again for a result that is none, or a policy that is not there", async () => {
    const bad = await single({ code: inline("return float('nan')"), retries: 3 });
    expect(bad).toMatchObject({ kind: "failed", facts: [{ attempts: 1 }] });
    const gone = await single({ policyRuleURI: "chek:1-t", retries: 3 });
    expect(gone).toMatchObject({
      ...{ kind: "failed", facts: [{ attempts: 1 }] },
      error: { reason: "NOT_FOUND", message: expect.stringMatching(/Did you mean check:1-t\?$/) },
    });
  });

  it("are stopped at their time, and their fallback counts", async () => {
    const code = inline("while True: pass");
    const late = await single({ code, timeout_seconds: 0.5 });
    expect(late).toMatchObject({
      kind: "failed",
      error: { reason: "POLICY_TIMEOUT", message: expect.stringMatching(/limit of 500 ms$/) },
    });
    const saved = await single({ code, timeout_seconds: 0.5, fallback: { a: 1 } });
    expect(saved).toMatchObject({ kind: "done", output: { a: 1 }, facts: [{ fellBack: true }] });
  });

  it("end when the caller goes", async () => {
    const caller = new AbortController();
    const body = { modules: { m: { code: inline("while True: pass") } }, graph: { m: [] } };
    const running = runner.run(readWorkflow(body), "{}", { signal: caller.signal });
    caller.abort();
    expect(await running).toMatchObject({ kind: "failed", error: { reason: "CANCELED" } });
  });
});

describe("modules of a workflow that are independent", () => {
  it("run side by side, with their code in place too", async () => {
    const slow = {
      code: inline("import time\nat = time.time()\ntime.sleep(5)\nreturn [at, time.time()]"),
    };
    const both = { code: inline('return input_data["previous_outputs"]') };
    const outcome = await run({
      ...{ workflow_id: "w", modules: { one: slow, other: slow, both } },
      graph: { one: ["both"], other: ["both"] },
    });
    if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
    const { one, other } = outcome.output as Record<string, readonly [number, number]>;
    expect(Number(one?.[0])).toBeLessThan(Number(other?.[1]));
    expect(Number(other?.[0])).toBeLessThan(Number(one?.[1]));
  });
});

describe("the code of modules is checked before a workflow is written", () => {
  const checked = (fields: object) =>
    checks.check(readWorkflow({ workflow_id: "w", modules: { m: fields }, graph: { m: [] } }));

  it("and may be a published policy, or a policy in place of either class", async () => {
    await checked({ policyRuleURI: "check:1-t" });
    await checked({ code: CHECK });
    await checked({ code: DECIDE });
  });

  it("and what was published and is no more is told later", async () => {
    const record = { name: "brief", version: "1", release_tag: "t", code: CHECK };
    await policies.publish(ORG, record, JSON.stringify(record));
    const module = { policyRuleURI: "brief:1-t" };
    const workflow = readWorkflow({ workflow_id: "w", modules: { m: module }, graph: { m: [] } });
    expect(await checks.missing(workflow)).toBeUndefined();
    await policies.remove(ORG, "brief:1-t");
    expect(await checks.missing(workflow)).toMatch(/^modules\.m\.policyRuleURI: .*brief:1-t/);
  });

  it.each([
    [{ policyRuleURI: "chek:1-t" }, /^modules\.m\.policyRuleURI: .*Did you mean check:1-t\?$/],
    [{ code: "def (" }, /^modules\.m\.code: .* \(line 1\)$/],
    [
      { code: "x = 1" },
      /^modules\.m\.code: the class AIOSv1PolicyRule or AgentSpaceV1PolicyRule is not/,
    ],
    [{ code: "class AIOSv1PolicyRule: pass" }, /^modules\.m\.code: .* has no method eval/],
  ])("and is refused when it is %j", async (fields, message) => {
    await expect(checked(fields)).rejects.toMatchObject({
      ...{ reason: "INVALID_ARGUMENT", message: expect.stringMatching(message) },
    });
  });
});
