import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EvaluatedOrg, evaluate, replicasOf, settled } from "../../testing/evaluated-org.ts";
import { type AllocatorAnswer, HeardScaling } from "../../testing/heard-scaling.ts";
import type { TestScaling } from "../../testing/scaling-fixture.ts";

const slow = (value: number) => ({
  stabilization_seconds: 0,
  rate_policies: [{ type: "replicas", value, period_seconds: 1_800 }],
});
const TAKEN: AllocatorAnswer = (body) => [200, { status: "allocated", ...Object(body) }];
const REFUSED: AllocatorAnswer = () => [400, { success: false, message: "no room" }];

let org: EvaluatedOrg;
let allocators: HeardScaling;
let scaling: TestScaling;
let wanted = 0;
let answer = TAKEN;

beforeEach(async () => {
  org = new EvaluatedOrg();
  allocators = new HeardScaling();
  answer = TAKEN;
  const { url: allocatorUrl } = await allocators.allocator((body) => answer(body));
  const guards = { scale_up: slow(4), scale_down: slow(1) };
  scaling = await org.ready(() => ({ a: wanted }), { guards, allocatorUrl });
  await byHand(10);
});
afterEach(async () => {
  await org.close();
  await allocators.close();
});

async function byHand(replicas: number): Promise<void> {
  await scaling.books.quotas.change("q-a", { replica_count: replicas });
}

/** Replicas that are desired once the workflow has wanted so many. */
async function after(replicas: number): Promise<number> {
  wanted = replicas;
  const [decision] = (await evaluate(scaling)).decisions;
  if (decision?.uuid !== undefined) await settled(scaling, decision.uuid);
  return replicasOf(scaling);
}

describe("rate policies", () => {
  it("count no scale-down that came to nothing", async () => {
    answer = REFUSED;
    expect(await after(2)).toBe(10);
    answer = TAKEN;
    expect(await after(50)).toBe(14);
    expect(await after(50)).toBe(14);
  });

  it("count no scale-up that came to nothing", async () => {
    answer = REFUSED;
    expect(await after(50)).toBe(10);
    answer = TAKEN;
    expect(await after(0)).toBe(9);
    expect(await after(0)).toBe(9);
  });

  it("count of a change what came true", async () => {
    answer = () => [200, { status: "partial", replicas: 12 }];
    expect(await after(50)).toBe(12);
    answer = TAKEN;
    expect(await after(50)).toBe(14);
    expect(await after(50)).toBe(14);
  });

  it("count from no more replicas than there were, when people undo a change", async () => {
    expect(await after(0)).toBe(9);
    await byHand(10);
    expect(await after(50)).toBe(14);
    expect(await after(50)).toBe(14);
  });
});
