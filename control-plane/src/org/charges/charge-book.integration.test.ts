import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type OrgBooks, openOrgBooks } from "../org-books.ts";
import type { Charge } from "./charge.ts";

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

const open = (over: DocumentStore = store) =>
  openOrgBooks({ store: over, orgId: "o", clock: systemClock, logger: silentLogger });

const chargeOf = (chargeId: string, quotaId: string, milli: number): Charge => ({
  ...{ chargeId, quotaId, kind: "request", operationId: "op", createdAt: "" },
  gpus: { F: milli },
});
const charge = ({ transactions, charges }: OrgBooks, ...of: Parameters<typeof chargeOf>) =>
  transactions.run((plan) => charges.plan(plan, chargeOf(...of)));
const uncharge = ({ transactions, charges }: OrgBooks, id: string) =>
  transactions.run((plan) => charges.planRemoval(plan, id));

describe("what is used of quotas", () => {
  it("is counted up to the top, refused where it does not fit, and there after a restart", async () => {
    const books = await open();
    await books.quotas.create({ quota_id: "org", nominal: { F: 4 } });
    await books.quotas.create({ quota_id: "team", parent_id: "org", limit: { F: 3 } });
    expect(await charge(books, "a", "team", 2_000)).toMatchObject({ chargeId: "a" });
    expect(await charge(books, "b", "team", 1_500)).toEqual({
      kind: "refused",
      obstacle: {
        ...{ quotaId: "team", flavor: "F", bound: "limit", boundMilli: 3_000 },
        ...{ usedMilli: 2_000, askedMilli: 1_500, fitsMilli: 1_000 },
      },
      message:
        'quota "team" has a limit of 3 GPUs of F, others use 2 GPUs, and 1.5 GPUs were asked for: 1 GPU would fit',
    });
    expect(await charge(books, "a", "team", 3_000)).toMatchObject({ chargeId: "a" });
    await expect(books.quotas.remove("team")).rejects.toMatchObject({ reason: "CONFLICT" });
    const again = await open();
    expect(again.charges.usedBy("org")).toEqual({ F: 3_000 });
    await uncharge(again, "a");
    await again.quotas.remove("team");
    expect((await open()).charges.all()).toEqual([]);
  });

  it("is what it was when something else of its transaction is refused", async () => {
    const books = await open();
    await books.quotas.create({ quota_id: "q", limit: { F: 4 } });
    await charge(books, "a", "q", 1_000);
    const both = books.transactions.run((plan) => {
      books.charges.plan(plan, chargeOf("a", "q", 4_000));
      books.charges.plan(plan, chargeOf("b", "q", 0));
      books.quotas.planChange(plan, "q", { limit: { F: 1 } });
    });
    await expect(both).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
    expect(books.charges.usedBy("q")).toEqual({ F: 1_000 });
    expect(books.charges.planned("b")).toBeUndefined();
    expect(await charge(books, "a", "q", 4_000)).toMatchObject({ chargeId: "a" });
  });

  it("is previewed and not changed", async () => {
    const books = await open();
    await books.quotas.create({ quota_id: "q", limit: { F: 4 } });
    await books.transactions.preview((plan) => {
      books.charges.plan(plan, chargeOf("a", "q", 4_000));
      books.quotas.planChange(plan, "q", { limit: { F: 9 } });
    });
    expect(books.charges.usedBy("q")).toEqual({});
    expect(books.quotas.get("q").revision).toBe(1);
  });
});

type Op =
  | { readonly kind: "charge"; readonly id: number; readonly quota: number; readonly milli: number }
  | { readonly kind: "uncharge"; readonly id: number }
  | { readonly kind: "limit"; readonly quota: number; readonly gpus: number }
  | { readonly kind: "fail"; readonly times: number };

const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    kind: fc.constant("charge" as const),
    ...{ id: fc.nat(9), quota: fc.nat(3), milli: fc.nat(4_000) },
  }),
  fc.record({ kind: fc.constant("uncharge" as const), id: fc.nat(9) }),
  fc.record({ kind: fc.constant("limit" as const), quota: fc.nat(3), gpus: fc.nat(5) }),
  fc.record({ kind: fc.constant("fail" as const), times: fc.integer({ min: 1, max: 2 }) }),
);
/** What each quota stands below: two teams below the org, a subject below the first. */
const PARENTS = [undefined, 0, 0, 1] as const;

/** What a quota uses with all below it, by the rows alone. */
function usedBy(books: OrgBooks, quota: number): number {
  const own = books.charges
    .all()
    .filter(({ quotaId }) => quotaId === `q${quota}`)
    .reduce((sum, { gpus }) => sum + (gpus.F ?? 0), 0);
  const below = PARENTS.flatMap((parent, id) => (parent === quota ? [id] : []));
  return below.reduce((sum, id) => sum + usedBy(books, id), own);
}

function check(books: OrgBooks): void {
  for (const id of PARENTS.keys()) {
    const { quota } = books.quotas.get(`q${id}`);
    const used = usedBy(books, id);
    expect(books.charges.usedBy(`q${id}`).F ?? 0).toBe(used);
    expect(books.quotas.tree.usedBy(`q${id}`).F ?? 0).toBe(used);
    expect(used).toBeLessThanOrEqual(quota.limit?.F ?? Number.POSITIVE_INFINITY);
    if (id === 0) expect(used).toBeLessThanOrEqual(quota.nominal?.F ?? 0);
  }
}

it("is never more than there is, whatever is written at a time, and when the store fails", async () => {
  const run = async (batches: readonly (readonly Op[])[]) => {
    const inner = openSqliteDocumentStore(":memory:", systemClock);
    let failures = 0;
    const failing = withApply(inner, async (batch) => {
      if (failures === 0) return inner.apply(batch);
      failures -= 1;
      throw new Error("the disk is full");
    });
    const books = await open(failing);
    for (const [id, parent] of PARENTS.entries()) {
      const above = parent === undefined ? { nominal: { F: 6 } } : { parent_id: `q${parent}` };
      await books.quotas.create({ quota_id: `q${id}`, ...above });
    }
    const begin = (one: Op): Promise<unknown> => {
      if (one.kind === "charge") return charge(books, `c${one.id}`, `q${one.quota}`, one.milli);
      if (one.kind === "uncharge") return uncharge(books, `c${one.id}`);
      if (one.kind === "limit") {
        return books.quotas.change(`q${one.quota}`, { limit: { F: one.gpus } });
      }
      failures = one.times;
      return Promise.resolve();
    };
    for (const batch of batches) {
      await Promise.allSettled(batch.map(begin));
      failures = 0;
      // One that waits for a repair, if one is under way, sees its end.
      await books.transactions.preview(() => undefined);
      check(books);
    }
    const again = await open(inner);
    check(again);
    expect(again.charges.all()).toEqual(books.charges.all());
    await inner.close();
  };
  const batches = fc.array(fc.array(op, { minLength: 1, maxLength: 8 }), { maxLength: 8 });
  await fc.assert(fc.asyncProperty(batches, run), { numRuns: 150 });
});
