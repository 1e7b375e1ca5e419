import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { berth, type Fleet, startFleet, until } from "../support/fleet.ts";

const POLICY = "least-loaded:1.0.0-stable";

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet();
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
});

afterAll(() => fleet.stop());

describe("an operator", () => {
  it("is told why a decision came out as it did", async () => {
    await berth(fleet, "allocate", "--policy", POLICY, "--gpus", "3");
    const { code, stdout } = await berth(fleet, "explain");
    expect(code).toBe(0);
    expect(stdout).toContain(POLICY);
    expect(stdout).toMatch(/outcome +unschedulable/);
    expect(stdout).toMatch(/candidates +1: local/);
    expect(stdout).toMatch(/of 3 GPUs fit/);
    const list = await berth(fleet, "get", "decisions", "-o", "json");
    const [decision] = JSON.parse(list.stdout);
    const one = await berth(fleet, "explain", decision.decision_id, "-o", "json");
    expect(JSON.parse(one.stdout)).toEqual(decision);
    const unknown = await berth(fleet, "explain", "no-such-decision");
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("there is no decision no-such-decision");
  });

  it("pings a cluster's agent, and is told when there is none", async () => {
    const { code, stdout } = await berth(fleet, "ping", "local", "-o", "json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ result: { text: "ping", runs: 1 } });
    const unknown = await berth(fleet, "ping", "nowhere");
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain("nowhere");
  });

  it("sees what agents and nodes told", async () => {
    await until(async () => /node_joined/.test((await berth(fleet, "get", "events")).stdout), {
      what: () => "the event of the node that joined",
    });
    expect((await berth(fleet, "fleet", "status")).stdout).toMatch(/local/);
  });

  it("makes, lists and revokes enrolment tokens for both links", async () => {
    for (const link of [[], ["--node", "--agent", `http://127.0.0.1:${fleet.ports.cluster}`]]) {
      const made = await berth(fleet, "token", "create", ...link);
      expect(made.code).toBe(0);
      expect(made.stdout.trim()).toMatch(/^berth1\.[\w-]{43}$/);
      const list = await berth(fleet, "token", "list", ...link, "-o", "json");
      expect(list.stdout).not.toContain(made.stdout.trim().slice(7));
      const [token] = JSON.parse(list.stdout);
      expect((await berth(fleet, "token", "revoke", token.id, ...link)).code).toBe(0);
      const after = await berth(fleet, "token", "list", ...link, "-o", "json");
      expect(JSON.parse(after.stdout)).toEqual([]);
    }
  });
});
