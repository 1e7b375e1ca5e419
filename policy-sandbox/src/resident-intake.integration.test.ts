// Documents that a worker cannot take in, or that fill it.
import { describe, expect, test } from "vitest";
import { LIMITS_BY_KIND, type ResidentDocument } from "./index.ts";
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
import { expectKind } from "./testing/sandbox-fixture.ts";

const open = sandboxOpener();

describe("an intake that fails", () => {
  test("names the document that is not JSON, and the next one is whole", async () => {
    const sandbox = open();
    await returned(sandbox, requestOn(SEE, [cluster("c1")]));
    const wrong = { id: "c2", parts: { ...cluster("c2").parts, data: { version: 1, json: "{" } } };
    for (const [json, message] of [
      ["{", /^resident c2\.data: Expecting property name/],
      ["[NaN]", /^resident c2\.data: NaN is not valid JSON/],
      ["[1e400]", /^resident c2\.data: the number 1e400 does not fit a double/],
    ] as const) {
      const bad = { ...wrong, parts: { ...wrong.parts, data: { version: json, json } } };
      const refused = await sandbox.evaluate(requestOn(SEE, [cluster("c1", 2), bad]));
      expect(expectKind(refused, "invalid_input").message).toMatch(message);
    }
    const after = await returned(sandbox, requestOn(SEE, [cluster("c1", 2), cluster("c2", 2)]));
    expect(JSON.parse(after.resultJson)[2]).toEqual({ c1: 2, c2: 2 });
  });

  // A worker that is kept from the processor for a second is ended, and rightly so.
  test("because the deadline comes in the middle leaves what was there before", {
    retry: 2,
  }, async () => {
    const sandbox = open();
    await returned(sandbox, requestOn(SEE, [cluster("c1")]));
    const worker = sandbox.stats().workers.find(({ tenant }) => tenant === TENANT);
    const many = Array.from({ length: 400 }, (_, n) =>
      cluster(`c${n}`, 2, { version: 2, numbers: Array.from({ length: 4_000 }, () => n + 0.5) }),
    );
    const limits = { ...LIMITS_BY_KIND.precheck, wallMs: 60 };
    const late = await sandbox.evaluate(requestOn(SEE, many, { limits }));
    expect(late).toMatchObject({ kind: "timed_out", limit: "wall" });
    expect((await returned(sandbox, requestOn(SEE, [cluster("c1")]))).resultJson).toContain(
      '"c1": 1',
    );
    const roomy = { ...LIMITS_BY_KIND.allocator };
    const all = await returned(sandbox, requestOn(SEE, many, { limits: roomy }));
    expect(JSON.parse(all.resultJson)[2]).toMatchObject({ c0: 2, c399: 2 });
    expect(sandbox.stats().workers.some(({ pid }) => pid === worker?.pid)).toBe(true);
  });

  test("is told when inputJson is no object", async () => {
    const sandbox = open();
    const refused = await sandbox.evaluate(requestOn(SEE, [cluster("c1")], { inputJson: "[]" }));
    expect(expectKind(refused, "invalid_input").message).toMatch(/^input: expected a JSON object/);
    await returned(sandbox, requestOn(SEE, [cluster("c1")]));
  });
});

test("the documents do not eat the memory that a policy may use, nor does it grow beyond bounds", async () => {
  const sandbox = open();
  const numbers = Array.from({ length: 120_000 }, (_, n) => n + 0.5);
  const many = Array.from({ length: 24 }, (_, n) => cluster(`c${n}`, 1, { version: 1, numbers }));
  const limits = { ...LIMITS_BY_KIND.allocator, memoryMiB: 96 };
  const source =
    "self.mine = None\nself.mine = bytearray(40 << 20)\nreturn len(input_data['cluster_data'])";
  const reader = requestOn("return len(input_data['cluster_data'])", many.slice(0, 1), { limits });
  await earnTrust(sandbox, reader);
  const all = { ...reader, resident: { shape: MEMBERS, documents: many } };
  expect((await returned(sandbox, all)).resultJson).toBe("24");
  const modest = requestOn(source, many.slice(0, 1), { limits });
  expect((await returned(sandbox, modest)).resultJson).toBe("1");
  const greedy = requestOn("x = []\nwhile True: x.append(bytearray(8 << 20))", many.slice(0, 1), {
    limits: { ...limits, wallMs: 15_000, cpuMs: 15_000 },
  });
  const { error } = expectKind(await sandbox.evaluate(greedy), "raised");
  expect(error.type).toBe("MemoryError");
});

describe("one document that no worker could take beside the others", () => {
  const good = ["c1", "c2"].map((id) => cluster(id));
  const part = (json: string): ResidentDocument => ({
    id: "huge",
    parts: { ...cluster("huge").parts, data: { version: 1, json } },
  });
  const { limits } = requestOn(SEE, []);

  test.each([
    ["is too large", `"${"x".repeat(600 * 1024)}"`],
    ["is nested too deeply", `${"[".repeat(65)}${"]".repeat(65)}`],
    ["has a number that Python does not read", '{"a":1e999,"a":1}'],
  ])("because it %s is named, and without it the request runs", async (_name, json) => {
    const sandbox = open({ maxResidentMiB: 2 });
    const documents = [...good, part(json)];
    const unfit = sandbox.unfitResidents({ shape: MEMBERS, documents }, limits);
    expect(unfit.map(({ id }) => id)).toEqual(["huge"]);
    const fit = documents.filter(({ id }) => !unfit.some((one) => one.id === id));
    const { resultJson } = await returned(sandbox, requestOn(SEE, fit));
    expect(JSON.parse(resultJson)[1]).toEqual(["c1", "c2"]);
  });

  test("what is not named is taken in, up to the very limit", async () => {
    const sandbox = open({ maxResidentMiB: 1 });
    const json = (id: string) => ({ version: 1, pad: "x".repeat(255 * 1024), id });
    const documents = ["c1", "c2", "c3", "c4", "c5"].map((id) => cluster(id, 1, json(id)));
    const unfit = sandbox.unfitResidents({ shape: MEMBERS, documents }, limits);
    expect(unfit).toHaveLength(1);
    const fit = documents.filter(({ id }) => id !== unfit[0]?.id);
    const { resultJson } = await returned(sandbox, requestOn(SEE, fit));
    expect(JSON.parse(resultJson)[1]).toHaveLength(4);
  });
});
