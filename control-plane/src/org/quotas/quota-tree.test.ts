import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { QuotaTree, type TreeQuota } from "./quota-tree.ts";

const quota = (quotaId: string, parentId?: string, more: object = {}): TreeQuota => ({
  quotaId,
  ...(parentId === undefined ? {} : { parentId }),
  ...more,
});

function treeOf(...quotas: readonly TreeQuota[]): QuotaTree {
  const tree = new QuotaTree();
  for (const one of quotas) tree.put(one);
  return tree;
}

/** An org with 8 H100, of which a team has 4; two subjects below the team and one beside it. */
function org(): QuotaTree {
  return treeOf(
    quota("org", undefined, { nominal: { H100: 8_000 } }),
    quota("team", "org", { nominal: { H100: 4_000 } }),
    quota("s1", "team", { nominal: { H100: 2_000 }, limit: { H100: 6_000 } }),
    quota("s2", "team"),
    quota("beside", "org"),
  );
}

const refused = (reason: string, message: string) => expect.objectContaining({ reason, message });

describe("charging", () => {
  it("lets a quota use its own share, and borrow what its parents have free, up to its limit", () => {
    const tree = org();
    expect(tree.charge("s1", "H100", 6_000)).toBeUndefined();
    expect(tree.charge("s1", "H100", 500)).toEqual({
      ...{ quotaId: "s1", flavor: "H100", bound: "limit", boundMilli: 6_000 },
      ...{ usedMilli: 6_000, askedMilli: 500, fitsMilli: 0 },
    });
    expect(tree.charge("s2", "H100", 3_000)).toMatchObject({
      ...{ quotaId: "org", bound: "nominal", usedMilli: 6_000, fitsMilli: 2_000 },
    });
    expect(tree.charge("beside", "H100", 2_000)).toBeUndefined();
    expect(tree.usedBy("org")).toEqual({ H100: 8_000 });
    expect(tree.usedBy("team")).toEqual({ H100: 6_000 });
    tree.release("s1", "H100", 6_000);
    expect(tree.charge("s2", "H100", 6_000)).toBeUndefined();
    expect(tree.usedBy("s1")).toEqual({});
  });

  it("gives nothing of a flavor that the top does not have, and bounds nothing that nobody bounds", () => {
    const tree = org();
    expect(tree.charge("s2", "L4", 1)).toMatchObject({ quotaId: "org", boundMilli: 0 });
    tree.put(quota("free"));
    expect(tree.charge("free", "L4", 1_000_000)).toBeUndefined();
    expect(() => tree.charge("none", "L4", 1)).toThrow('no quota "none"');
  });
});

describe("changing the tree", () => {
  it("gives children no more than their parent has", () => {
    const tree = org();
    expect(() => tree.put(quota("more", "team", { nominal: { H100: 3_000 } }))).toThrow(
      refused(
        "PRECONDITION_FAILED",
        'nominal.H100: quota "team" has 2 GPUs left to give, expected no more than that',
      ),
    );
    expect(() => tree.put(quota("team", "org", { nominal: { H100: 1_000 } }))).toThrow(
      "the quotas below",
    );
    tree.put(quota("s1", "team", { nominal: { H100: 4_000 } }));
    expect(() => tree.put(quota("s2", "team", { nominal: { H100: 1 } }))).toThrow(
      "has 0 GPUs left",
    );
    tree.put(quota("s1", "team"));
    tree.put(quota("s2", "team", { nominal: { H100: 4_000 } }));
  });

  it("bounds nothing below what is used, and moves nothing to where it does not fit", () => {
    const tree = org();
    tree.charge("s1", "H100", 3_000);
    for (const limit of [{ H100: 2_999 }, { H100: 0 }]) {
      expect(() => tree.put(quota("s1", "team", { limit }))).toThrow(
        'limit.H100: "s1" uses 3 GPUs',
      );
    }
    expect(() => tree.put(quota("org", undefined, { nominal: { H100: 2_000 } }))).toThrow();
    tree.put(quota("narrow", undefined, { limit: { H100: 2_000 } }));
    expect(() => tree.put(quota("s1", "narrow"))).toThrow(
      'parent_id: "s1" uses 3 GPUs of H100, which does not fit below "narrow"',
    );
    tree.put(quota("s1", "beside"));
    expect(tree.usedBy("team")).toEqual({});
    expect(tree.usedBy("beside")).toEqual({ H100: 3_000 });
    expect(tree.usedBy("org")).toEqual({ H100: 3_000 });
  });

  it("takes changes of a quota that uses more than it may, but for a bound that is drawn tighter", () => {
    const tree = treeOf(quota("q", undefined, { limit: { H100: 2_000 } }), quota("top"));
    tree.adopt("q", "H100", 7_000);
    tree.put(quota("q", undefined, { limit: { H100: 2_000 } }));
    tree.put(quota("q", undefined, { limit: { H100: 4_000 } }));
    tree.put(quota("q", "top", { limit: { H100: 4_000 } }));
    expect(() => tree.put(quota("q", "top", { limit: { H100: 3_000 } }))).toThrow(
      'limit.H100: "q" uses 7 GPUs, expected at least that',
    );
    expect(tree.charge("q", "H100", 1)).toMatchObject({ bound: "limit", fitsMilli: 0 });
    tree.restore(quota("q", undefined, { limit: { H100: 1_000 } }));
    expect(tree.usedBy("q")).toEqual({ H100: 7_000 });
    expect(tree.usedBy("top")).toEqual({});
  });

  it("has no circles, no parents that are not there, and no depth without end", () => {
    const tree = org();
    expect(() => tree.put(quota("org", "s1", { nominal: { H100: 8_000 } }))).toThrow(
      "below itself",
    );
    expect(() => tree.put(quota("x", "x"))).toThrow(
      refused("NOT_FOUND", 'parent_id: there is no quota "x"'),
    );
    expect(() => tree.put(quota("org", "org"))).toThrow("below itself");
    const chain = treeOf(quota("q0"));
    for (let level = 1; level < 16; level += 1) chain.put(quota(`q${level}`, `q${level - 1}`));
    expect(() => chain.put(quota("q16", "q15"))).toThrow("at most 16 levels");
    chain.put(quota("top"));
    expect(() => chain.put(quota("q0", "top"))).toThrow("at most 16 levels");
  });

  it("removes nothing that has others below it, or uses something", () => {
    const tree = org();
    expect(() => tree.remove("team")).toThrow(
      refused("CONFLICT", 'quota "team" has "s1" and 1 more below it'),
    );
    tree.charge("s2", "H100", 1_000);
    expect(() => tree.remove("s2")).toThrow('quota "s2" uses 1 GPU of H100');
    tree.release("s2", "H100", 1_000);
    tree.remove("s2");
    tree.remove("s2");
    expect(tree.has("s2")).toBe(false);
  });
});

interface Step {
  readonly kind: "put" | "remove" | "charge" | "release";
  readonly id: number;
  readonly parent: number;
  readonly nominal: number | undefined;
  readonly limit: number | undefined;
  readonly milli: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("put", "put", "put", "charge", "charge", "charge", "release", "remove"),
  id: fc.nat(3),
  parent: fc.integer({ min: -1, max: 3 }),
  nominal: fc.option(fc.nat(9), { nil: undefined }),
  limit: fc.option(fc.nat(9), { nil: undefined }),
  milli: fc.integer({ min: 1, max: 5 }),
});

/** The tree under test beside what it must say, kept in the plainest way. */
class Model {
  readonly #tree = new QuotaTree();
  readonly #quotas = new Map<string, TreeQuota>();
  readonly #charges = new Map<string, number>();

  do({ kind, id, parent, nominal, limit, milli }: Step): void {
    const quotaId = `q${id}`;
    const used = this.#charges.get(quotaId) ?? 0;
    if (kind === "put") {
      const bounds = [
        ["nominal", nominal],
        ["limit", limit],
      ].filter(([, most]) => most !== undefined);
      const more = Object.fromEntries(bounds.map(([name, most]) => [name, { F: most }]));
      const one = quota(quotaId, parent < 0 ? undefined : `q${parent}`, more);
      this.#tree.put(one);
      this.#quotas.set(quotaId, one);
    } else if (kind === "remove") {
      this.#tree.remove(quotaId);
      this.#quotas.delete(quotaId);
    } else if (kind === "charge") {
      const obstacle = this.#tree.charge(quotaId, "F", milli);
      if (obstacle === undefined) this.#charges.set(quotaId, used + milli);
      else expect(obstacle.fitsMilli).toBeLessThan(milli);
    } else if (used >= milli && this.#quotas.has(quotaId)) {
      this.#tree.release(quotaId, "F", milli);
      this.#charges.set(quotaId, used - milli);
    }
  }

  /** The rules that do not hold, from the quotas and the charges alone. */
  broken(): readonly string[] {
    return [...this.#quotas.values()].flatMap(({ quotaId, parentId, nominal, limit }) => {
      const used = this.#use(quotaId);
      const own = nominal === undefined ? Number.POSITIVE_INFINITY : (nominal.F ?? 0);
      const given = this.#below(quotaId).reduce((sum, one) => sum + (one.nominal?.F ?? 0), 0);
      return [
        used > (limit?.F ?? Number.POSITIVE_INFINITY) ? `${quotaId} uses more than its limit` : "",
        parentId === undefined && used > own ? `${quotaId} uses more than there is` : "",
        given > own ? `${quotaId} gives more than it has` : "",
        used === (this.#tree.usedBy(quotaId).F ?? 0) ? "" : `${quotaId} is counted wrong`,
      ].filter((text) => text !== "");
    });
  }

  #below(quotaId: string): readonly TreeQuota[] {
    return [...this.#quotas.values()].filter(({ parentId }) => parentId === quotaId);
  }

  #use(quotaId: string): number {
    const own = this.#charges.get(quotaId) ?? 0;
    return this.#below(quotaId).reduce((sum, one) => sum + this.#use(one.quotaId), own);
  }
}

it("is never over-committed, whatever is asked of it, and counts what is used", () => {
  const run = (steps: readonly Step[]) => {
    const model = new Model();
    for (const one of steps) {
      try {
        model.do(one);
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: "BerthError" });
      }
      expect(model.broken()).toEqual([]);
    }
  };
  const steps = fc.array(step, { minLength: 20, maxLength: 80, size: "max" });
  fc.assert(fc.property(steps, run), { numRuns: 1_000 });
});
