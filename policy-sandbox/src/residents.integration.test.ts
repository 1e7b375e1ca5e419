// Documents that stay in a worker between evaluations: what crosses, and what the policy sees.
import { describe, expect, test } from "vitest";
import { LIMITS_BY_KIND, type ResidentDocument, type ResidentInput } from "./index.ts";
import {
  cluster,
  earnTrust,
  MEMBERS,
  requestOn,
  returned,
  SEE,
  sandboxOpener,
  TENANT,
} from "./testing/resident-fixture.ts";
import { expectKind, until } from "./testing/sandbox-fixture.ts";

const open = sandboxOpener();

describe("input_data", () => {
  test("has the documents in their order beside the inputs, and two fields of one part are one object", async () => {
    const sandbox = open();
    const body =
      "d = input_data['cluster_data']['c2']\nreturn [list(d), d['metrics'] is d['cluster_metrics'], d['metrics']]";
    const documents = [cluster("c2"), cluster("c1")];
    for (let count = 0; count < 5; count += 1) {
      const seen = await returned(sandbox, requestOn(SEE, documents));
      expect(seen.resultJson).toBe('[{"gpus": 2}, ["c2", "c1"], {"c2": 1, "c1": 1}]');
      expect((await returned(sandbox, requestOn(body, documents))).resultJson).toBe(
        '[["data", "cluster_metrics", "metrics"], true, {"load": 10.0, "big": 9223372036854775809}]',
      );
    }
  });

  test("is the list of one part, null parts and candidates in any order included", async () => {
    const sandbox = open();
    const shape = { kind: "list", part: "data" } as const;
    const documents = [cluster("a", 1, null), cluster("b", 1, 2), cluster("c", 1, [10])];
    for (const order of [documents, [...documents].reverse(), documents.slice(1), []]) {
      const resident = { shape, documents: order };
      const request = requestOn("return input_data", [], { resident, inputJson: "null" });
      const values = order.map((document) => JSON.parse(document.parts.data?.json ?? ""));
      expect(JSON.parse((await returned(sandbox, request)).resultJson)).toEqual(values);
    }
  });

  test("is fresh on the outside each time: what a policy adds there does not stay", async () => {
    const sandbox = open();
    const body = [
      "c = input_data['cluster_data']",
      "seen = [len(input_data), len(c), len(c['c1'])]",
      "c['new'] = 1",
      "c['c1']['extra'] = 1",
      "input_data['more'] = 1",
      "return seen",
    ].join("\n");
    for (let count = 0; count < 5; count += 1) {
      const outcome = await returned(sandbox, requestOn(body, [cluster("c1")]));
      expect(outcome).toMatchObject({ resultJson: "[2, 1, 3]", inputChanged: false });
    }
  });

  test("a function tells the documents when a worker is free, and its failure is the caller's", async () => {
    const sandbox = open();
    const resident = async () => ({ shape: MEMBERS, documents: [cluster("late")] });
    const outcome = await returned(sandbox, requestOn(SEE, [], { resident }));
    expect(outcome.resultJson).toContain('["late"]');
    const broken = async () => Promise.reject(new Error("no inventory"));
    await expect(sandbox.evaluate(requestOn(SEE, [], { resident: broken }))).rejects.toThrow(
      "no inventory",
    );
    const ends: boolean[] = [];
    const silent = (signal: AbortSignal) => {
      signal.addEventListener("abort", () => ends.push(signal.aborted));
      return new Promise<ResidentInput>(() => undefined);
    };
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 50 };
    expect(await sandbox.evaluate(requestOn(SEE, [], { resident: silent, limits }))).toEqual({
      kind: "overloaded",
      message: "gathering what the policy is to see took longer than 50 ms",
    });
    expect(ends).toEqual([true]);
    const stop = new AbortController();
    const waiting = sandbox.evaluate(requestOn(SEE, [], { resident: silent, signal: stop.signal }));
    await until(() => sandbox.stats().running === 1);
    stop.abort();
    expect(await waiting).toEqual({ kind: "canceled" });
    expect(ends).toEqual([true, true]);
    await returned(sandbox, requestOn(SEE, []));
  });
});

describe("what crosses", () => {
  /** The ids of the objects tell which documents the worker has parsed anew. */
  const IDS =
    "return {k: [id(v['data']), v['data']['version']] for k, v in input_data['cluster_data'].items()}";

  test("is what has changed, and nothing else", async () => {
    const sandbox = open();
    const documents = [cluster("c1"), cluster("c2")];
    await earnTrust(sandbox, requestOn(IDS, documents));
    const idsOf = async (wanted: readonly ResidentDocument[]) =>
      JSON.parse((await returned(sandbox, requestOn(IDS, wanted))).resultJson);
    const before = await idsOf(documents);
    expect(await idsOf(documents)).toEqual(before);
    const after = await idsOf([cluster("c1"), cluster("c2", 2)]);
    expect(after.c1).toEqual(before.c1);
    expect(after.c2[1]).toBe(2);
    expect(after.c2[0]).not.toBe(before.c2[0]);
  });

  test("is edits of what the worker holds, where the caller knows some", async () => {
    const sandbox = open();
    const body =
      "c = input_data['cluster_data']['c1']['data']\nkept = getattr(self, 'kept', None)\nself.kept = c\nreturn [c, kept is c]";
    const asked: unknown[] = [];
    const part = (version: number, data: object, edits?: string) => ({
      version,
      get json() {
        asked.push(version);
        return JSON.stringify(data);
      },
      ...(edits === undefined
        ? {}
        : { editsFrom: () => edits, shapedLike: { version: 0, json: JSON.stringify(data) } }),
    });
    const request = (data: ReturnType<typeof part>) =>
      requestOn(body, [{ id: "c1", parts: { data, metrics: { version: 1, json: "null" } } }]);
    const first = part(1, { nodes: [{ free: 2 }, { free: 3 }], status: "live" });
    await earnTrust(sandbox, request(first));
    const edited = part(
      2,
      { nodes: [{ free: 2 }, { free: 1 }], status: "gone" },
      '[[["nodes",1,"free"],1],[["status"],"gone"]]',
    );
    asked.length = 0;
    const { resultJson } = await returned(sandbox, request(edited));
    expect(JSON.parse(resultJson)).toEqual([
      { nodes: [{ free: 2 }, { free: 1 }], status: "gone" },
      false,
    ]);
    expect(asked).toEqual([]);
    const again = await returned(sandbox, request(edited));
    expect(JSON.parse(again.resultJson)[1]).toBe(true);
  });

  test("is the text for a worker that holds nothing, also where edits are known", async () => {
    const sandbox = open();
    const data = {
      version: 2,
      json: '{"status":"gone"}',
      editsFrom: () => '[[["status"],"wrong"]]',
    };
    const parts = { data, metrics: { version: 1, json: "null" } };
    const body = "return input_data['cluster_data']['c1']['data']['status']";
    const { resultJson } = await returned(sandbox, requestOn(body, [{ id: "c1", parts }]));
    expect(resultJson).toBe('"gone"');
  });

  test("is everything again for another worker, whose evaluations are trusted as before", async () => {
    const sandbox = open();
    const documents = [cluster("c1"), cluster("c2")];
    await earnTrust(sandbox, requestOn(SEE, documents));
    const worker = sandbox.stats().workers.find(({ tenant }) => tenant === TENANT);
    process.kill(worker?.pid ?? 0, "SIGKILL");
    await until(() => !sandbox.stats().workers.some(({ pid }) => pid === worker?.pid));
    const outcome = await returned(sandbox, requestOn(SEE, documents));
    expect(outcome).toMatchObject({ coldStart: true, inputCopied: false });
    expect(outcome.resultJson).toBe('[{"gpus": 2}, ["c1", "c2"], {"c1": 1, "c2": 1}]');
  });

  test("comes back when it was dropped for want of room", async () => {
    const sandbox = open({ maxResidentMiB: 1 });
    const big = (id: string) => cluster(id, 1, { version: 1, pad: "x".repeat(400 * 1024) });
    for (const ids of [["c1"], ["c2"], ["c3"], ["c1", "c3"], ["c2"]]) {
      const outcome = await returned(sandbox, requestOn(SEE, ids.map(big)));
      expect(JSON.parse(outcome.resultJson)[1]).toEqual(ids);
    }
    const refused = await sandbox.evaluate(requestOn(SEE, ["c1", "c2", "c3"].map(big)));
    expect(expectKind(refused, "invalid_input").message).toMatch(
      /^resident: the documents need \d+ bytes, at most 1048576 are allowed$/,
    );
  });

  test("never reaches another tenant", async () => {
    const sandbox = open({ maxWorkers: 1 });
    const secret = cluster("c1", 1, { version: 1, secret: "of a" });
    await earnTrust(sandbox, requestOn(SEE, [secret], { tenant: "org/a" }));
    const search = [
      "import sys",
      "held = sys.modules['_berth.runner'].residents",
      "def walk(f):",
      "    while f is not None:",
      "        yield f.f_locals",
      "        f = f.f_back",
      "self_ = next(v['self'] for v in walk(sys._getframe()) if '_residents' in dir(v.get('self')))",
      "return [str(self_._residents._held.parts), list(input_data['cluster_data'])]",
    ].join("\n");
    const own = requestOn(search, [cluster("c9")], { tenant: "org/a" });
    expect((await returned(sandbox, own)).resultJson).toContain("of a");
    const other = requestOn(search, [cluster("c9")], { tenant: "org/b" });
    const seen = (await returned(sandbox, other)).resultJson;
    expect(seen).not.toContain("of a");
    expect(seen).toContain("c9");
  });
});
