import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, ORG } from "../testing/allocator-harness.ts";
import { aView } from "../testing/documents.ts";

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

  it("keeps nothing of an evaluation whose result is refused, also of a ranking one", async () => {
    const uri = await harness.publish(
      "refused-after",
      `${COUNTS.split("\n")[0]}
return {"cluster_id": "nowhere" if parameters.get("bad") else None, "n": context["n"]}`,
    );
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 1 } });
    await expect(harness.allocate(uri, { parameters: { bad: true } })).rejects.toThrow(
      "nowhere is not one of the candidate clusters",
    );
    expect(await harness.allocate(uri)).toMatchObject({ data: { n: 2 } });
    const ranking = await harness.publish(
      "ranks-nothing",
      'context["n"] = 1\nreturn parameters["ids"]',
    );
    const search = (ids: unknown) => ({
      search: { rankingPolicyRule: { policyRuleURI: ranking, parameters: { ids } } },
    });
    await expect(harness.allocate(uri, search([{}]))).rejects.toThrow("invalid list");
    expect(await harness.contexts.get(ORG, ranking)).toBe("{}");
    await harness.allocate(uri, search(["c1"]));
    expect(await harness.contexts.get(ORG, ranking)).toBe('{"n": 1}');
  });

  it("keeps one entry of a decision that had to be made again", async () => {
    const other = await harness.publish(
      "takes-first",
      'return {"cluster_id": "c1", "node_id": "node-1", "gpus": ["0"]}',
    );
    const uri = await harness.publish(
      "appends",
      `import time
context.setdefault("gpus", []).append(1)
gpus = input_data["cluster_data"]["c1"]["data"]["nodes"]["nodeData"][0]["gpus"]["gpus"]
free = [gpu["id"] for gpu in gpus if gpu["state"] == "free"]
while not self.settings["cluster_client"].read_cluster("told")[1]["is_other_done"]:
    time.sleep(0.25)
return {"cluster_id": "c1", "node_id": "node-1", "gpus": free[:1]}`,
    );
    let isOtherDone = false;
    const told = {
      ...aView("told"),
      get documentJson() {
        return JSON.stringify({ ...aView("told").document, is_other_done: isOtherDone });
      },
    };
    harness.views.set("told", told);
    let othersTurn: Promise<void> = Promise.resolve();
    harness.onceAsked = async () => {
      othersTurn = harness.allocate(other, { assume_seconds: 60, clusters: ["c1"] }).then(() => {
        isOtherDone = true;
      });
    };
    expect(await harness.allocate(uri, { assume_seconds: 60, clusters: ["c1"] })).toMatchObject({
      data: { gpus: ["1"] },
    });
    await othersTurn;
    harness.views.delete("told");
    expect(harness.records.at(-1)).toMatchObject({ attempts: 2 });
    expect(await harness.contexts.get(ORG, uri)).toBe('{"gpus": [1]}');
  });
});
