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

/** The numbers that so many requests at once are told. */
async function countAtOnce(uri: string, requests: number): Promise<readonly number[]> {
  const replies = Array.from({ length: requests }, () => harness.allocate(uri));
  const answers = (await Promise.all(replies)) as readonly {
    readonly data: { readonly n: number };
  }[];
  return answers.map(({ data }) => data.n).sort((one, other) => one - other);
}

const upTo = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe("a policy's context", () => {
  it("goes from one evaluation to the next", async () => {
    const uri = await harness.publish("counts", COUNTS);
    for (const n of [1, 2, 3]) expect(await harness.allocate(uri)).toMatchObject({ data: { n } });
  });

  it("loses nothing of 100 requests at once, from the first one on and over a restart", async () => {
    const uri = await harness.publish("counts-at-once", COUNTS);
    expect(await countAtOnce(uri, 100)).toEqual(upTo(1, 100));
    await harness.restart();
    expect(await countAtOnce(uri, 100)).toEqual(upTo(101, 200));
    expect(await harness.contexts.get(ORG, uri)).toBe('{"n": 200}');
  });

  it("keeps nothing of an evaluation that fails", async () => {
    const uri = await harness.publish(
      "fails-after",
      `${COUNTS.split("\n")[0]}
if context["n"] == 2 and not parameters.get("ok"):
    raise ValueError("no")
return {"cluster_id": None, "n": context["n"]}`,
    );
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 1 } });
    await expect(harness.allocate(uri)).rejects.toThrow("raised ValueError: no");
    const answer = await harness.allocate(uri, { parameters: { ok: true } });
    expect(answer).toMatchObject({ data: { n: 2 } });
  });
});
