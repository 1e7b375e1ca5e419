// Policies that change the documents that stay in their worker: who sees it, and how it is found.
import { describe, expect, test } from "vitest";
import {
  cluster,
  earnTrust,
  requestOn,
  returned,
  SEE,
  sandboxOpener,
  TENANT,
} from "./testing/resident-fixture.ts";
import { expectKind, policyWithBody, requestFor, until } from "./testing/sandbox-fixture.ts";

const open = sandboxOpener();

describe("a policy that changes its input", () => {
  const WRITE =
    "d = input_data['cluster_data']['c1']['data']\nd['seen'] = d.get('seen', 0) + 1\nreturn d['seen']";

  test("works on copies from the start, is marked and never sees its own traces", async () => {
    const sandbox = open();
    const first = await returned(sandbox, requestOn(WRITE, [cluster("c1")]));
    expect(first).toMatchObject({ resultJson: "1", inputCopied: true, inputChanged: true });
    for (let count = 0; count < 5; count += 1) {
      const next = await returned(sandbox, requestOn(WRITE, [cluster("c1")]));
      expect(next).toMatchObject({ resultJson: "1", inputCopied: true, inputChanged: true });
    }
  });

  test.each([
    [
      "a value by an equal one of another type",
      "input_data['cluster_data']['c1']['data']['version'] = True",
    ],
    ["a float by an equal integer", "input_data['cluster_data']['c1']['metrics']['load'] = 10"],
    [
      "the order of the keys",
      "d = input_data['cluster_data']['c1']['data']\nd['id'] = d.pop('id')",
    ],
    [
      "a value by something that is no JSON",
      "input_data['cluster_data']['c1']['data']['x'] = object()",
    ],
    ["a list by itself", "n = input_data['cluster_data']['c1']['data']['nodes']\nn.append(n)"],
    [
      "something and then raises",
      "input_data['cluster_data']['c1']['data']['x'] = 1\nraise KeyError('x')",
    ],
  ])("is seen when it replaces %s", async (_name, body) => {
    const sandbox = open();
    expect(await sandbox.evaluate(requestOn(`${body}\nreturn 1`, [cluster("c1")]))).toMatchObject({
      inputChanged: true,
    });
  });

  test.each([
    ["reads it", "return str(input_data)"],
    [
      "keeps a part of it",
      "self.kept = input_data['cluster_data']['c1']['data']['nodes']\nreturn 1",
    ],
    ["copies and sorts it", "return sorted(list(input_data['cluster_data']['c1']['data']))"],
    ["raises", "raise KeyError('x')"],
  ])("is not taken for one that %s", async (_name, body) => {
    const sandbox = open();
    for (let count = 0; count < 4; count += 1) {
      const outcome = await sandbox.evaluate(requestOn(body, [cluster("c1")]));
      expect(outcome).toMatchObject({ inputChanged: false, inputCopied: count < 3 });
    }
  });

  test("late is found by a sample, and everything is pulled anew", async () => {
    const sandbox = open({ inputCheckShare: 1 });
    const body =
      "self.n = getattr(self, 'n', 0) + 1\nif self.n >= 4: input_data['cluster_data']['c1']['data']['mark'] = 1\nreturn 'mark' in input_data['cluster_data']['c1']['data']";
    await earnTrust(sandbox, requestOn(body, [cluster("c1")]));
    const late = await returned(sandbox, requestOn(body, [cluster("c1")]));
    expect(late).toMatchObject({ inputCopied: false, inputChanged: true });
    const after = requestOn("return 'mark' in input_data['cluster_data']['c1']['data']", [
      cluster("c1"),
    ]);
    expect(await returned(sandbox, after)).toMatchObject({ resultJson: "false" });
    expect(await returned(sandbox, requestOn(body, [cluster("c1")]))).toMatchObject({
      inputCopied: true,
      inputChanged: true,
    });
  });

  test("through a reference that it kept is found as well, with all who shared the documents", async () => {
    const sandbox = open({ inputCheckShare: 1 });
    const reader = requestOn("return input_data['cluster_data']['c1']['data'].get('mark')", [
      cluster("c1"),
    ]);
    await earnTrust(sandbox, reader);
    const keeper =
      "import sys\nsys.kept = getattr(sys, 'kept', [])\nsys.kept.append(input_data['cluster_data']['c1']['data'])\nreturn 1";
    await earnTrust(sandbox, requestOn(keeper, [cluster("c1")]));
    expect(await returned(sandbox, requestOn(keeper, [cluster("c1")]))).toMatchObject({
      inputCopied: false,
      inputChanged: false,
    });
    const writer = requestFor(policyWithBody("import sys\nsys.kept[-1]['mark'] = 1\nreturn 1"));
    expect(await returned(sandbox, writer)).toMatchObject({ inputChanged: false });
    expect(await returned(sandbox, reader)).toMatchObject({ inputChanged: true });
    expect(await returned(sandbox, reader)).toMatchObject({
      resultJson: "null",
      inputCopied: true,
    });
    expect(await returned(sandbox, requestOn(keeper, [cluster("c1")]))).toMatchObject({
      inputCopied: true,
      inputChanged: true,
    });
  });

  test("stays marked when its worker is gone", async () => {
    const sandbox = open();
    await returned(sandbox, requestOn(WRITE, [cluster("c1")]));
    const worker = sandbox.stats().workers.find(({ tenant }) => tenant === TENANT);
    process.kill(worker?.pid ?? 0, "SIGKILL");
    await until(() => !sandbox.stats().workers.some(({ pid }) => pid === worker?.pid));
    expect(await returned(sandbox, requestOn(WRITE, [cluster("c1")]))).toMatchObject({
      coldStart: true,
      inputCopied: true,
      inputChanged: true,
    });
  });
});

test("a policy that lies about its documents ends its worker, not the next evaluation", async () => {
  const sandbox = open();
  const lie = [
    "import sys",
    "sys.modules['_berth.residents'].Residents.revision = lambda self: input_data['lie']",
    "return 1",
  ].join("\n");
  for (const value of ["99", "-1", '"x"']) {
    const outcome = await sandbox.evaluate(
      requestOn(lie, [cluster("c1")], { inputJson: `{"lie":${value}}` }),
    );
    expect(expectKind(outcome, "crashed").cause).toBe("protocol");
  }
  expect((await returned(sandbox, requestOn(SEE, [cluster("c1")]))).resultJson).toContain(
    '"c1": 1',
  );
});
