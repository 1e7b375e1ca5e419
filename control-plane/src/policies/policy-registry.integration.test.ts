import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, ORG } from "../testing/allocator-harness.ts";

let harness: AllocatorHarness;

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
});

afterAll(() => harness.close());

describe("PolicyRegistry", () => {
  it("never changes a published version", async () => {
    await harness.publish("fixed", "return None");
    await harness.publish("fixed", "return None");
    await expect(harness.publish("fixed", "return {}")).rejects.toThrow("publish a new version");
    await expect(harness.publish("fixed", "return None", '{"a":1}')).rejects.toThrow(
      "publish a new version",
    );
  });

  it.each<[object, string]>([
    [{ code: "class A: pass" }, "AIOSv1PolicyRule"],
    [{ code: "class AIOSv1PolicyRule:\n    def eval(:" }, "code/function.py:2"],
    [{ files: { "code/other.py": "x = 1" } }, "code/function.py"],
    [{ files: { "../x.py": "" } }, 'files: "../x.py" is not a path below code/'],
    [{ files: { "code/function.py": "", "code/../tmp/leak.txt": "" } }, "code/../tmp/leak.txt"],
    [{ files: { "code/function.py": "", "code//x": "" } }, 'files: "code//x" has an empty name'],
    [{ archive: "bm90IGFuIGFyY2hpdmU=" }, "archive: "],
    [{ archive: "%%%" }, "archive: expected base64"],
    [{}, "expected exactly one of files, archive, code; got none"],
    [{ code: "import x", archive: "aaaa" }, "got archive and code"],
    [{ code: "hello" }, "code: expected Python source"],
    [{ code: "http://169.254.169.254/x.zip" }, "its address is link-local"],
    [{ code: "http://127.0.0.1:1/x.zip" }, "code: cannot fetch http://127.0.0.1:1/x.zip"],
    [{ code: "import x", name: "a b" }, "name: "],
  ])("refuses %j and says why", async (fields, message) => {
    const body = { name: "bad", version: "1", release_tag: "t", ...fields };
    await expect(harness.policies.publish(ORG, body, JSON.stringify(body))).rejects.toThrow(
      message,
    );
  });

  const nested = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
  const withDefault = (field: string, json: string) =>
    `{"name":"defaults","version":"1","release_tag":"t","code":"class AIOSv1PolicyRule: pass","${field}":${json}}`;

  it.each([
    ["policy_parameters", '{"a":1e999}', "policy_parameters: a number is too large for a double"],
    ["policy_settings", '{"a":[-1e999]}', "policy_settings: a number is too large for a double"],
    ["policy_parameters", nested(65), "policy_parameters: expected at most 64 nested levels"],
    ["policy_settings", nested(65), "policy_settings: expected at most 64 nested levels"],
  ])("refuses a default in %s that no run can take", async (field, json, message) => {
    const text = withDefault(field, json);
    await expect(harness.policies.publish(ORG, JSON.parse(text), text)).rejects.toThrow(message);
  });

  it("takes a default that is nested as deep as a run takes it", async () => {
    const uri = await harness.publish("deep", 'return {"cluster_id": "c1"}', nested(64));
    expect(await harness.allocate(uri)).toMatchObject({ success: true });
  });

  it("changes and removes, but never the code", async () => {
    const uri = await harness.publish("mutable", "return None");
    await harness.policies.change(ORG, uri, { $set: { description: "d", tags: ["a", "b"] } });
    expect(await harness.policies.get(ORG, uri)).toMatchObject({ description: "d", tags: "a,b" });
    await expect(harness.policies.change(ORG, uri, { code: "x" })).rejects.toThrow(
      "code: unknown field",
    );
    const found = await harness.policies.query(ORG, { tags: { $regex: "^a" } });
    expect(found.map((record) => record.policy_rule_uri)).toEqual([uri]);
    await harness.policies.remove(ORG, uri);
    await expect(harness.policies.get(ORG, uri)).rejects.toThrow("not found");
    await expect(harness.policies.remove(ORG, uri)).rejects.toThrow("not found");
  });
});
