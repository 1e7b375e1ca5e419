import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { berth } from "../support/fleet.ts";

const WORKFLOW = `
workflow_id: steady
name: As many as config wants
modules:
  decide:
    code: |
      class AIOSv1PolicyRule:
          def __init__(self, rule_id, settings, parameters):
              pass

          def eval(self, parameters, input_data, context):
              wanted = {"replicas": parameters.get("want", 2), "reason": "as config wants"}
              return {subject: wanted for subject in input_data["replicas"]}
graph:
  decide: []
`;
const RULES = { guards: { scale_up: { rate_policies: [] } } };

let plane: ControlPlaneProcess;
let directory: string;
const file = (name: string) => path.join(directory, name);

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-autoscale-"));
  writeFileSync(file("steady.yaml"), WORKFLOW);
  writeFileSync(file("rules.json"), JSON.stringify(RULES));
  plane = await startControlPlane();
  const quota = { quota_id: "q", subject_id: "team-a", replica_count: "1", max_replicas: 20 };
  await send("POST", "/quota", quota);
  await send("POST", "/autoscale/rules", { ...RULES, approval_seconds: 600 });
});
afterAll(async () => {
  await plane?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function send(method: string, url: string, body: object): Promise<void> {
  const answer = await fetch(`${plane.restUrl}${url}`, {
    method,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(answer.ok, await answer.text()).toBe(true);
}

/** Runs the command, which must end well, and gives what it printed. */
async function done(...args: readonly string[]) {
  const run = await berth(plane, ...args);
  expect(run.code, run.stderr).toBe(0);
  return run;
}

async function json(...args: readonly string[]) {
  return JSON.parse((await done(...args, "-o", "json")).stdout);
}

describe("an operator of the autoscaler", () => {
  it("writes a workflow, and again in its place, and lists it", async () => {
    const apply = ["workflow", "apply", "-f", file("steady.yaml")];
    expect((await done(...apply)).stdout).toBe("workflow steady written, revision 1\n");
    writeFileSync(file("steady.yaml"), WORKFLOW.replace("As many", "So many"));
    expect((await done(...apply)).stdout).toBe("workflow steady written, revision 2\n");
    const { stdout } = await done("get", "workflows");
    expect(stdout).toMatch(/^WORKFLOW +NAME +REVISION +MODULES/);
    expect(stdout).toMatch(/\nsteady +So many as config wants +2 +1 /);
    writeFileSync(file("bad.yaml"), WORKFLOW.replace("decide: []", "decide: [gone]"));
    const bad = await berth(plane, "workflow", "apply", "-f", file("bad.yaml"));
    expect(bad).toMatchObject({ code: 1, stdout: "" });
    expect(bad.stderr).toContain("gone");
  });

  it("sets config and interval, and goes back to a version", async () => {
    const set = await json("autoscale", "config", "--set", "want=3", "--set", "note=slow");
    expect(set).toEqual({ want: 3, note: "slow" });
    expect(await json("autoscale", "config", "--unset", "note")).toEqual({ want: 3 });
    await done("autoscale", "rollback", "config", "1");
    expect(await json("autoscale", "config")).toEqual({ want: 3, note: "slow" });
    expect(await json("autoscale", "interval", "3600")).toMatchObject({ interval: 3600 });
    expect((await done("autoscale", "interval")).stdout).toMatch(/\ninterval +3600\n/);
    const wrong = await berth(plane, "autoscale", "interval", "soon");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('interval "soon"') });
    expect((await berth(plane, "autoscale", "interval", "0.5")).stderr).toContain("interval");
  });

  it("evaluates, in shadow or for good, and reads what was decided and why", async () => {
    await done("autoscale", "use", "steady");
    const shadow = await done("autoscale", "evaluate", "--shadow");
    expect(shadow.stdout).toMatch(/\nteam-a +shadow +1 +3 +3 .*as config wants/);
    const evaluated = await done("autoscale", "evaluate");
    expect(evaluated.stdout).toMatch(/\nteam-a +change +1 +3 +3 /);
    const { stdout } = await done("autoscale", "decisions", "--subject", "team-a");
    expect(stdout).toMatch(/^AGE +SUBJECT +DECISION +FROM +WANTED +TO +WHY\n/);
    expect(stdout.split("\n").slice(1, -1)).toHaveLength(2);
    const changes = await json("autoscale", "decisions", "--kind", "change");
    expect(changes).toMatchObject([{ subject_id: "team-a", current: 1, replicas: 3 }]);
    expect((await done("get", "evaluations")).stdout.match(/ steady /g)).toHaveLength(2);
    const status = await done("autoscale", "status");
    expect(status.stdout).toMatch(/\nworkflow +steady\nstate +on\ninterval +3600 s\n/);
    expect(status.stdout).toMatch(/\ndecisions +1 change\n/);
    expect((await berth(plane, "autoscale", "decisions", "--kind", "x")).code).toBe(1);
  });

  it("pauses, resumes, and answers what waits for a human", async () => {
    await done("autoscale", "pause");
    expect((await done("autoscale", "status")).stdout).toMatch(/\nstate +paused\n/);
    expect((await done("autoscale", "evaluate")).stdout).toMatch(/\nteam-a +keep .*paused/);
    await done("autoscale", "resume");
    writeFileSync(file("approval.yaml"), "guards: {approval: {replicas_above: 5}}\n");
    await done("autoscale", "rules", "-f", file("approval.yaml"));
    expect((await done("autoscale", "rules")).stdout).toContain('"replicas_above":5');
    await done("autoscale", "config", "--set", "want=8");
    expect((await done("autoscale", "evaluate")).stdout).toMatch(/\nteam-a +needs_approval /);
    const [waiting] = await json("get", "scale-requests", "--state", "awaiting_approval");
    const answered = await done("autoscale", "approve", waiting.uuid, "--by", "ops");
    expect(answered.stdout).toContain(" team-a ");
    const again = await berth(plane, "autoscale", "reject", waiting.uuid);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/CONFLICT/) });
  });

  it("runs another workflow over what was recorded, from the server or a file", async () => {
    const other = WORKFLOW.replace('"want", 2', '"never", 1').replace("id: steady", "id: other");
    writeFileSync(file("other.yaml"), other);
    const run = await done("autoscale", "backtest", "-f", file("other.yaml"));
    expect(run.stdout).toMatch(/^SUBJECT +CHANGES +REVERSALS +REPLICA-HOURS +FIRST DIFFERENCE\n/);
    expect(run.stdout).toMatch(/\nteam-a +\d+ → 0 /);
    expect(run.stderr).toMatch(/4 evaluations, 0 failed/);
    const { stdout } = await done("autoscale", "reports");
    const lines = stdout.trim().split("\n");
    expect(lines).toHaveLength(4);
    expect(JSON.parse(lines[0] ?? "").data.subjects.quotas["team-a"]).toHaveLength(1);
    writeFileSync(file("reports.jsonl"), stdout);
    const files = ["--reports", file("reports.jsonl"), "--rules", file("rules.json")];
    const again = await json("autoscale", "backtest", "steady", ...files, "--points");
    expect(again).toMatchObject({
      workflow_id: "steady",
      evaluations: 4,
      points: expect.any(Array),
    });
    const none = await berth(plane, "autoscale", "backtest");
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining("--file") });
    const gone = await berth(plane, "autoscale", "backtest", "steady", "--rules", "/nowhere");
    expect(gone.stderr).toMatch(/\/nowhere: cannot be read/);
  });

  it("removes a workflow once nothing runs it", async () => {
    const refused = await berth(plane, "workflow", "delete", "steady");
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("CONFLICT") });
    await done("autoscale", "use", "--none");
    expect((await done("workflow", "delete", "steady")).stdout).toBe("workflow steady removed\n");
    expect((await done("get", "workflows")).stdout).not.toContain("steady");
    expect((await berth(plane, "autoscale", "use")).code).toBe(2);
  });
});
