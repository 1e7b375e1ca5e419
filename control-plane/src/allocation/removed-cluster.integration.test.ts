import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, ORG } from "../testing/allocator-harness.ts";

const FIRST_FREE = `node = input_data["cluster_data"]["c1"]["data"]["nodes"]["nodeData"][0]
free = [gpu["id"] for gpu in node["gpus"]["gpus"] if gpu["state"] == "free"]
return {"cluster_id": "c1", "node_id": "node-1", "gpus": free[:1]} if free else None`;

let harness: AllocatorHarness;
let uri: string;
const placed = () => harness.allocate(uri, { assume_seconds: 300 });

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
  uri = await harness.publish("first-free", FIRST_FREE);
});

afterAll(() => harness.close());

describe("a cluster that was removed and registered again under its id", () => {
  it("has none of the GPUs that the old one gave away", async () => {
    expect(await placed()).toMatchObject({ data: { gpus: ["0"] } });
    expect(await placed()).toMatchObject({ data: { gpus: ["1"] } });
    expect(await placed()).toMatchObject({ data: { unschedulable: true } });
    harness.assumptions.remove(ORG, "c1");
    expect(await placed()).toMatchObject({ data: { gpus: ["0"] } });
  });

  it("has none of those either that a decision gave away which ran meanwhile", async () => {
    harness.assumptions.remove(ORG, "c1");
    harness.onceAsked = async () => harness.assumptions.remove(ORG, "c1");
    expect(await placed()).toMatchObject({ data: { gpus: ["0"] } });
    expect(await placed()).toMatchObject({ data: { gpus: ["0"] } });
    expect(await placed()).toMatchObject({ data: { gpus: ["1"] } });
  });
});
