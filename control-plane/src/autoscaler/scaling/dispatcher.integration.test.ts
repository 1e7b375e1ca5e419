import { BerthError, type Write } from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { HeardScaling } from "../../testing/heard-scaling.ts";

let org: HeardScaling;
beforeEach(() => {
  org = new HeardScaling();
});
afterEach(() => org.close());

const isDispatch = (write: Write) =>
  write.key.collection === "scale_requests" &&
  write.kind !== "delete" &&
  (write.body as { readonly state: string }).state === "dispatched";

it("waits longer and longer for a disk that is full, and goes on when it is not", async () => {
  let isFull = true;
  let refusals = 0;
  const store = withApply(org.store, async (writes) => {
    if (!isFull || !writes.some(isDispatch)) return org.store.apply(writes);
    refusals += 1;
    throw new BerthError("UNAVAILABLE", "the disk is full");
  });
  const scaling = await org.open({ store });
  await scaling.books.quotas.create({ subject_id: "s", quota_id: "q" });
  const { uuid } = await scaling.ask("s", 2);
  await vi.waitFor(() => expect(refusals).toBe(3), 10_000);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(refusals).toBeLessThan(5);
  isFull = false;
  await vi.waitFor(() => expect(scaling.scale.get(uuid)?.state).toBe("confirmed"), 10_000);
});
