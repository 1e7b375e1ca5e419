import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { BerthError, openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentPolicies, AgentPolicyRun } from "../policies/agent-policies.ts";
import { PreChecker, type PrecheckEvent, type PrecheckRequest } from "./pre-checker.ts";
import { openVerdictLog, type VerdictLog } from "./verdict-log.ts";

let directory: string;
let store: ReturnType<typeof openSqliteDocumentStore>;
let log: VerdictLog;
let map: unknown;
let events: PrecheckEvent[];
let runs: AgentPolicyRun[];
/** What the policy returns, JSON text, or what its run throws. */
let returned: string | Error;
/** The policy's turn does not come before its caller gives up. */
let isStuck: boolean;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-prechecks-"));
  store = openSqliteDocumentStore(path.join(directory, "a.db"), systemClock, {
    durability: "process",
  });
  log = await openVerdictLog({ store, orgId: "o", clock: systemClock, logger: silentLogger });
  map = { add_block: "p:1-s" };
  events = [];
  runs = [];
  returned = '{"allowed":true}';
  isStuck = false;
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const policies: Pick<AgentPolicies, "run"> = {
  run: async (run) => {
    runs.push(run);
    if (isStuck) {
      await once(run.signal, "abort");
      const error = new BerthError("CANCELED", "the request was canceled");
      return { kind: "failed", error, facts: undefined };
    }
    if (returned instanceof Error) throw returned;
    return { kind: "done", resultJson: returned, facts: { interpreterMs: 0, log: [] } } as never;
  },
};

function check(more: Partial<PrecheckRequest> = {}, runsPolicies = true) {
  const checker = new PreChecker({
    ...{ policyMap: () => map, policies: runsPolicies ? policies : undefined, clients: {}, log },
    onEvent: (event) => events.push(event),
    answerWithinMs: 100,
  });
  return checker.check({
    ...{ hook: "add_block", about: "block/a", signal: AbortSignal.timeout(5_000) },
    input: () => ({ block_data: { id: "a", t: 0.7 }, cluster_data: { id: "c1" } }),
    accept: (changed) => changed,
    ...more,
  });
}

const verdicts = async () => (await log.list({ limit: 10 })).map(({ verdict }) => verdict);

describe("PreChecker", () => {
  it("asks nobody where no policy governs", async () => {
    map = { remove_block: "p:1-s", onScaleUp: "x" };
    const input = () => {
      throw new Error("nobody asked for it");
    };
    expect(await check({ input })).toEqual({ warnings: [] });
    expect(runs).toEqual([]);
  });

  it("gives the policy its input, parameters and settings, and notes that it allowed", async () => {
    map = { add_block: { policyRuleURI: "p:1-s", parameters: { a: 1 }, settings: { b: 2 } } };
    expect(await check()).toEqual({ warnings: [] });
    expect(runs).toMatchObject([
      { uri: "p:1-s", kind: "precheck", parameters: { a: 1 }, settings: { b: 2 } },
    ]);
    expect(JSON.parse(runs[0]?.inputJson ?? "")).toEqual({
      ...{ block_data: { id: "a", t: 0.7 }, cluster_data: { id: "c1" } },
    });
    expect(await verdicts()).toEqual(["allowed"]);
  });

  it("takes what it returns unchanged as unchanged, and anything else as what is to be done", async () => {
    returned = '{"allowed":true,"input_data":{"cluster_data":{},"block_data":{"t":0.70,"id":"a"}}}';
    expect(await check()).toEqual({ warnings: [] });
    returned = '{"allowed":true,"input_data":{"id":"a","t":0.80}}';
    const allowed = await check();
    expect(JSON.stringify(allowed.changed)).toBe('{"id":"a","t":0.80}');
    expect((await log.list({ limit: 10 })).map(({ isChanged }) => isChanged)).toEqual([
      true,
      false,
    ]);
  });

  it("refuses with the policy's reason, and tells the control-plane", async () => {
    returned = '{"allowed":false,"input_data":{"message":"too large","limit":3}}';
    await expect(check()).rejects.toMatchObject({
      reason: "PRECHECK_DENIED",
      httpStatus: 403,
      message: "add_block is not allowed by policy p:1-s: too large",
      details: { hook: "add_block", input_data: { message: "too large", limit: 3 } },
    });
    const facts = { hook: "add_block", verdict: "denied", why: "too large", mode: "enforce" };
    expect(events).toMatchObject([{ kind: "precheck_denied", key: "add_block/block/a", facts }]);
  });

  it.each([
    ["returns no verdict", '{"ok":true}', /gave no verdict: allowed: expected true or false/],
    ["returns nothing", "null", /gave no verdict: expected an object, got null/],
    [
      "cannot be had",
      new BerthError("UNAVAILABLE", "not known here"),
      /no verdict: not known here/,
    ],
    ["times out", new BerthError("POLICY_TIMEOUT", "it took 5 s"), /no verdict: it took 5 s/],
  ])("refuses when the policy %s", async (_what, result, message) => {
    returned = result;
    await expect(check()).rejects.toMatchObject({
      reason: "PRECHECK_DENIED",
      message: expect.stringMatching(message),
    });
    expect(await verdicts()).toEqual(["invalid"]);
    expect(await check({ passesFailure: true })).toMatchObject({
      warnings: [expect.stringContaining("gave no verdict")],
    });
  });

  it("refuses when the policy's turn does not come in time, and does what must not wait for it", async () => {
    isStuck = true;
    const message = "it did not answer within 200 ms, the wait for its turn included";
    await expect(check()).rejects.toMatchObject({
      reason: "PRECHECK_DENIED",
      message: expect.stringContaining(message),
    });
    expect(await check({ passesFailure: true })).toEqual({
      warnings: [expect.stringContaining(message)],
    });
  });

  it("refuses where no policy can run, and where the map cannot be read", async () => {
    await expect(check({}, false)).rejects.toThrow("this cluster-agent runs no policies");
    map = { add_block: 7 };
    await expect(check()).rejects.toThrow(
      "config.actionsPolicyMap.add_block: expected a policy URI",
    );
    expect(await check({ passesFailure: true })).toMatchObject({
      warnings: [expect.stringContaining("expected a policy URI")],
    });
  });

  it("only warns in mode warn, and only writes down in mode audit", async () => {
    returned = '{"allowed":false,"input_data":"no"}';
    map = { add_block: { policyRuleURI: "p:1-s", mode: "warn" } };
    expect(await check()).toEqual({
      warnings: ["add_block is not allowed by policy p:1-s: no"],
    });
    map = { add_block: { policyRuleURI: "p:1-s", mode: "audit" } };
    expect(await check({ about: "block/b" })).toEqual({ warnings: [] });
    expect(await verdicts()).toEqual(["denied", "denied"]);
    expect(events.map(({ key }) => key)).toEqual(["add_block/block/a"]);
  });

  it.each(["warn", "audit"])("changes nothing in mode %s", async (mode) => {
    returned = '{"allowed":true,"input_data":{"id":"a","t":9}}';
    map = { add_block: { policyRuleURI: "p:1-s", mode } };
    expect(await check()).toEqual({ warnings: [] });
  });

  it("notes what a policy changed to what does not hold as such, and refuses it", async () => {
    returned = '{"allowed":true,"input_data":{"id":"a","t":9}}';
    const accept = () => {
      throw new BerthError("INVALID_ARGUMENT", "t: expected at most 2, got 9");
    };
    const message = "t: expected at most 2, got 9";
    await expect(check({ accept })).rejects.toMatchObject({
      reason: "POLICY_FAILED",
      message: `policy p:1-s changed the input of add_block to what does not hold: ${message}`,
    });
    expect(await log.list({ limit: 10 })).toMatchObject([
      { verdict: "unfit", why: message, isChanged: false },
    ]);
    const warnings = [expect.stringContaining(message)];
    expect(await check({ accept, passesFailure: true })).toEqual({ warnings });
    map = { add_block: { policyRuleURI: "p:1-s", mode: "warn" } };
    expect(await check({ accept })).toEqual({ warnings });
  });

  it("tells a refusal that comes again once", async () => {
    returned = '{"allowed":false}';
    for (let time = 0; time < 3; time += 1) await expect(check()).rejects.toThrow("no reason");
    expect(events).toHaveLength(1);
    expect(await log.list({ limit: 10 })).toMatchObject([{ times: 3 }]);
  });
});
