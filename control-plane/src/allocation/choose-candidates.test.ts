import { describe, expect, it } from "vitest";
import { aView } from "../testing/documents.ts";
import { Assumptions } from "./assumptions.ts";
import { applyFilter } from "./choose-candidates.ts";
import { Pacer } from "./pacer.ts";
import { Sight } from "./sight.ts";

const ids = Array.from({ length: 40 }, (_, n) => `c${String(n).padStart(2, "0")}`);
const clusters = new Map(
  ids.map((id, n) => [id, aView(id, { health: n === 3 ? "unreachable" : "live" })]),
);
const scope = (signal = new AbortController().signal) => ({
  sight: new Sight({ revision: 1, clusters }, new Assumptions({ nowMs: () => 0 })),
  pacer: new Pacer(),
  signal,
});

/** A filter that takes 5 ms for a cluster and takes every second one. */
function slowly({ id }: { readonly id: string }): boolean {
  const until = performance.now() + 5;
  while (performance.now() < until);
  return Number(id.slice(1)) % 2 === 0;
}

describe("applyFilter", () => {
  it("gives the clusters that match in their order, and says why the others do not", async () => {
    const { found, dropped } = await applyFilter(({ id }) => id < "c05", scope());
    expect(found.map(({ id }) => id)).toEqual(["c00", "c01", "c02", "c04"]);
    expect(dropped[0]).toEqual({ id: "c03", reason: "unreachable" });
    expect(dropped[1]).toEqual({ id: "c05", reason: "the filter does not match" });
    expect(dropped.length).toBe(36);
  });

  it("lets others have their turn while it takes long, and finds the same", async () => {
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 1);
    const { found } = await applyFilter(slowly, scope());
    clearInterval(counting);
    expect(found.length).toBe(20);
    expect(turns).toBeGreaterThan(5);
  });

  it("ends when nobody waits for it any more", async () => {
    const gone = new AbortController();
    const filtered = applyFilter(slowly, scope(gone.signal));
    gone.abort();
    await expect(filtered).rejects.toThrow("aborted");
  });
});
