import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeptDocuments } from "./kept-documents.ts";
import { OrgTransactions } from "./org-transactions.ts";

interface Body {
  readonly group: string | undefined;
  readonly count: number;
}

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

const groupOf = ({ group }: Body) => group;
const GROUPS = ["a", "b", "c"];
const RUNS = 20;
const STEPS = 60;
const where = { orgId: "o", collection: "things" };

/** What the index has to say, by looking at all documents. */
function lookedThrough(all: Iterable<readonly [string, { readonly body: Body }]>, group: string) {
  const found = [...all].filter(([, { body }]) => body.group === group);
  return found.sort(([one], [other]) => (one < other ? -1 : 1)).map(([, kept]) => kept);
}

function expectRight(documents: KeptDocuments<Body>): void {
  for (const group of GROUPS) {
    expect(documents.ofGroup(group)).toEqual(lookedThrough(documents.all(), group));
    const planned = lookedThrough(documents.allPlanned(), group);
    expect(documents.plannedOfGroup(group)).toEqual(planned);
  }
  const inSome = [...documents.allPlanned()].filter(([, { body }]) => body.group !== undefined);
  expect(new Set(documents.plannedOfGroup())).toEqual(new Set(inSome.map(([, kept]) => kept)));
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function oneRun(seed: number): Promise<void> {
  const random = seeded(seed);
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
  let fails = false;
  const flaky = withApply(store, (writes) => {
    if (fails) throw new Error("the disk is full");
    return store.apply(writes);
  });
  const documents = new KeptDocuments<Body>({ ...where, orgId: `o${seed}`, store: flaky, groupOf });
  const transactions = new OrgTransactions({ store: flaky, logger: silentLogger });
  transactions.add(documents);
  const writes: Promise<unknown>[] = [];
  for (let step = 0; step < STEPS; step += 1) {
    fails = random() < 0.1;
    const begun = transactions.run((plan) => {
      for (let change = random() * 3; change > 0; change -= 1) {
        const id = `id-${Math.floor(random() * 12)}`;
        if (random() < 0.3) documents.remove(plan, id);
        else documents.put(plan, id, { group: pick([...GROUPS, undefined]), count: step });
      }
      if (random() < 0.15) throw new Error("the plan goes no further");
    });
    writes.push(begun.catch(() => undefined));
    expectRight(documents);
    if (random() < 0.5) await Promise.all(writes);
    expectRight(documents);
    if (random() < 0.05) {
      await Promise.all(writes);
      await documents.reload();
      expectRight(documents);
    }
  }
  await Promise.all(writes);
  expectRight(documents);
}

describe("documents in groups", () => {
  it("are those that looking through all would find, whatever is written, taken back or read again", async () => {
    for (let seed = 1; seed <= RUNS; seed += 1) await oneRun(seed);
  });
});
