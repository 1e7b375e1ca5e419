import { Pacer } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { aView } from "../testing/documents.ts";
import { Assumptions } from "./assumptions.ts";
import { applyFilter } from "./choose-candidates.ts";
import { MAX_REQUEST_STEPS } from "./query/query-steps.ts";
import { type ClusterFilter, parseFilter } from "./query/selection.ts";
import { Sight } from "./sight.ts";

const ids = Array.from({ length: 40 }, (_, n) => `c${String(n).padStart(2, "0")}`);
const clusters = new Map(
  ids.map((id, n) => [id, aView(id, { health: n === 3 ? "unreachable" : "live" })]),
);
const scope = (signal = new AbortController().signal, seen = clusters) => ({
  sight: new Sight({ revision: 1, clusters: seen }, new Assumptions({ nowMs: () => 0 }), 0),
  pacer: new Pacer(),
  signal,
});

/** A filter that takes 5 ms for a cluster, then pauses, and takes every cluster. */
const slowly: ClusterFilter = {
  *document() {
    const until = performance.now() + 5;
    while (performance.now() < until);
    yield;
    return true;
  },
  metrics: undefined,
};

const where = (variable: string, operator: string, value: unknown) =>
  parseFilter({ variable, operator, value });

describe("applyFilter", () => {
  it("gives the clusters that match in their order, and says why the others do not", async () => {
    const { found, dropped } = await applyFilter(where("id", "<", "c05"), scope(), "filter");
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
    const { found } = await applyFilter(slowly, scope(), "filter");
    clearInterval(counting);
    expect(found.length).toBe(39);
    expect(turns).toBeGreaterThan(5);
  });

  it("ends when nobody waits for it any more", async () => {
    const gone = new AbortController();
    const filtered = applyFilter(slowly, scope(gone.signal), "filter");
    gone.abort();
    await expect(filtered).rejects.toThrow("aborted");
  });

  it("drops what it would take too long on, with a warning, and decides about the others", async () => {
    const big = Array.from({ length: 600_000 }, (_, n) => n);
    const view = aView("large");
    const large = { ...view, document: { ...view.document, clusterMetadata: { big } } };
    const seen = new Map([["large", large], ...clusters]);
    const filter = where("clusterMetadata.big", "!=", -1);
    let longestMs = 0;
    let lastAt = performance.now();
    const watching = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - lastAt);
      lastAt = performance.now();
    }, 1);
    const { found, dropped, warnings } = await applyFilter(
      filter,
      scope(undefined, seen),
      "search",
    );
    clearInterval(watching);
    expect(found.length).toBe(39);
    const reason = "the filter takes more than 1000000 steps on it";
    expect(dropped).toContainEqual({ id: "large", reason });
    expect(warnings).toEqual([`search: cluster large is no candidate: ${reason}`]);
    expect(longestMs).toBeLessThan(500);
  });

  it("stops when the clusters together take too long", async () => {
    const greedy: ClusterFilter = {
      // biome-ignore lint/correctness/useYield: it never pauses.
      *document({ steps }) {
        return steps.take(MAX_REQUEST_STEPS / 20) ? true : "takes too long";
      },
      metrics: undefined,
    };
    const { found, dropped, warnings } = await applyFilter(greedy, scope(), "filter");
    expect(found.length).toBe(20);
    expect(dropped.at(-1)?.reason).toBe("the filter took all of its 20000000 steps on others");
    expect(warnings.length).toBe(19);
  });
});
