import { describe, expect, it } from "vitest";
import { atOnce } from "./at-once.ts";

/** Work that a test lets go on, item by item. */
function heldWork() {
  const begun = new Map<string, PromiseWithResolvers<void>>();
  const work = (item: string): Promise<void> => {
    const held = Promise.withResolvers<void>();
    begun.set(item, held);
    return held.promise;
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { begun, work, turn };
}

describe("work at once", () => {
  it("is begun in order, of no more items than said", async () => {
    const { begun, work, turn } = heldWork();
    const all = atOnce(["a", "b", "c"], 2, work);
    expect([...begun.keys()]).toEqual(["a", "b"]);
    begun.get("b")?.resolve();
    await turn();
    expect([...begun.keys()]).toEqual(["a", "b", "c"]);
    begun.get("a")?.resolve();
    begun.get("c")?.resolve();
    await all;
  });

  it("fails as its first failure when what was begun is over, and begins nothing more", async () => {
    const { begun, work, turn } = heldWork();
    let isOver = false;
    const all = atOnce(["a", "b", "c"], 2, work).finally(() => {
      isOver = true;
    });
    const failed = expect(all).rejects.toThrow("b failed");
    begun.get("b")?.reject(new Error("b failed"));
    await turn();
    expect(isOver).toBe(false);
    begun.get("a")?.reject(new Error("a failed"));
    await failed;
    expect([...begun.keys()]).toEqual(["a", "b"]);
  });
});
