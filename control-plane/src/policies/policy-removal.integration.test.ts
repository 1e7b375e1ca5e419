import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, ORG } from "../testing/allocator-harness.ts";

let harness: AllocatorHarness;

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
});

afterAll(() => harness.close());

const COUNTS = `context["n"] = context.get("n", 0) + 1
return {"cluster_id": None, "n": context["n"]}`;

const codes = async () => {
  const stored = await harness.store.list({ orgId: ORG, collection: "policy_code" });
  return stored.map(({ id }) => id);
};

describe("removing a policy", () => {
  it("removes its context, so that other code under its URI begins with none", async () => {
    const uri = await harness.publish("again", COUNTS);
    for (const n of [1, 2]) expect(await harness.allocate(uri)).toMatchObject({ data: { n } });
    await harness.policies.remove(ORG, uri);
    await harness.publish("again", `seen = dict(context)\n${COUNTS}`);
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 1 } });
    await harness.contexts.flush();
    await harness.policies.remove(ORG, uri);
    await harness.restart();
    await harness.publish("again", COUNTS);
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 1 } });
  });

  it("drops what a run that had begun before leaves in its context", async () => {
    const uri = await harness.publish("begun", COUNTS);
    await harness.allocate(uri);
    harness.onceAsked = async () => {
      await harness.policies.remove(ORG, uri);
      await harness.publish("begun", `# other code\n${COUNTS}`);
    };
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 2 } });
    expect(await harness.contexts.get(ORG, uri)).toBe("{}");
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 1 } });
  });

  it("removes a context that an older version left under the URI of a new policy", async () => {
    harness.contexts.set(ORG, "left:1-t", '{"n":41}');
    await harness.contexts.flush();
    const uri = await harness.publish("left", COUNTS);
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 1 } });
  });

  it("removes its code with the last version that has it", async () => {
    const before = await codes();
    const one = await harness.publish("shared-one", "return None # shared");
    const other = await harness.publish("shared-other", "return None # shared");
    const [added, ...more] = (await codes()).filter((digest) => !before.includes(digest));
    expect(added).toBeDefined();
    expect(more).toEqual([]);
    await harness.policies.remove(ORG, one);
    expect(await codes()).toContain(added);
    expect(await harness.allocate(other)).toMatchObject({ data: { unschedulable: true } });
    await harness.policies.remove(ORG, other);
    expect(await codes()).toEqual(before);
    await expect(harness.allocate(other)).rejects.toThrow("not found");
    await harness.publish("shared-one", "return None # shared");
    expect(await harness.allocate(one)).toMatchObject({ data: { unschedulable: true } });
  });

  it("loses no code to a publication at the same time", async () => {
    for (let round = 0; round < 2; round += 1) {
      const uri = await harness.publish(`old-${round}`, "return None # at once");
      const [published] = await Promise.all([
        harness.publish(`new-${round}`, "return None # at once"),
        harness.policies.remove(ORG, uri),
      ]);
      expect(await harness.allocate(published)).toMatchObject({ data: { unschedulable: true } });
      await harness.policies.remove(ORG, published);
    }
  });
});
