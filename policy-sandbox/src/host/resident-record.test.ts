import { describe, expect, test } from "vitest";
import { FrameError } from "../protocol/frames.ts";
import type { ResidentDocument } from "../request.ts";
import { type CheckedResidents, PartSizes } from "./resident-input.ts";
import { ResidentRecord } from "./resident-record.ts";

const ROOMY = { textBytes: 1_000_000, heapBytes: 100_000_000 };

function recordOf(bounds = ROOMY): ResidentRecord {
  return new ResidentRecord(bounds, new PartSizes());
}

function document(id: string, version: number | string = 1, json = '"x"'): ResidentDocument {
  return { id, parts: { data: { version, json }, metrics: { version: 1, json: "null" } } };
}

function wanting(...documents: ResidentDocument[]): CheckedResidents {
  return { documents, parts: ["data", "metrics"], shapeJson: "", members: true };
}

/** Plans, says that the worker has taken all of it in, and tells what was sent. */
function pull(record: ResidentRecord, wanted: CheckedResidents, epoch = 0) {
  const plan = record.plan(wanted, epoch);
  record.settle(plan.intake?.revision ?? revisionOf(record));
  const sent = plan.intake?.take.map(({ part, id }) => `${id}.${part}`) ?? [];
  return { ...plan, sent, dropped: plan.intake?.drop.map(([part, id]) => `${id}.${part}`) ?? [] };
}

/** The revision that the worker is believed to have, found out without changing anything. */
function revisionOf(record: ResidentRecord): number {
  for (let revision = 0; ; revision += 1) {
    try {
      record.settle(revision);
      return revision;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
    }
  }
}

describe("what is sent", () => {
  test("everything at first, nothing when nothing has changed, then only what has", () => {
    const record = recordOf();
    const [one, two] = [document("c1"), document("c2")];
    expect(pull(record, wanting(one, two)).sent).toEqual([
      "c1.data",
      "c2.data",
      "c1.metrics",
      "c2.metrics",
    ]);
    expect(pull(record, wanting(one, two)).intake).toBeNull();
    expect(pull(record, wanting(one, document("c2", 2))).sent).toEqual(["c2.data"]);
    expect(pull(record, wanting(one, document("c2", 2))).intake).toBeNull();
  });

  test("a version is compared as it is: 1 is not '1'", () => {
    const record = recordOf();
    pull(record, wanting(document("c1", 1)));
    expect(pull(record, wanting(document("c1", "1"))).sent).toEqual(["c1.data"]);
  });

  test("a list of candidates that came before is named by its number", () => {
    const record = recordOf();
    const [one, two] = [document("c1"), document("c2")];
    const first = pull(record, wanting(one, two));
    const swapped = pull(record, wanting(two, one));
    expect(swapped).toMatchObject({ sent: [], intake: { list: [swapped.list, ["c2", "c1"]] } });
    expect(pull(record, wanting(one, two))).toMatchObject({ list: first.list, intake: null });
  });

  test("the list that was used least recently makes room for a ninth", () => {
    const record = recordOf();
    const documents = Array.from({ length: 9 }, (_, n) => document(`c${n}`));
    const lists = documents.slice(0, 8).map((one) => pull(record, wanting(one)).list);
    pull(record, wanting(document("c0")));
    const ninth = pull(record, wanting(...documents.slice(8)));
    expect(ninth.intake?.forget).toEqual([lists[1]]);
  });
});

describe("what is believed", () => {
  test("an intake that the worker did not take in is sent again", () => {
    const record = recordOf();
    pull(record, wanting(document("c1")));
    record.plan(wanting(document("c1", 2)), 0);
    record.settle(1);
    expect(pull(record, wanting(document("c1", 2))).sent).toEqual(["c1.data"]);
  });

  test("a reset that the worker did not take in is said again", () => {
    const record = recordOf();
    pull(record, wanting(document("c1")));
    expect(record.plan(wanting(document("c1")), 1).intake?.reset).toBe(true);
    record.settle(1);
    const again = pull(record, wanting(document("c1")), 1);
    expect(again).toMatchObject({ sent: ["c1.data", "c1.metrics"], intake: { reset: true } });
    expect(pull(record, wanting(document("c1")), 1).intake).toBeNull();
  });

  test.each([0, 3, 1.5, -1])(
    "revision %d of a worker that has 1 and was sent 2 is a lie",
    (lie) => {
      const record = recordOf();
      pull(record, wanting(document("c1")));
      record.plan(wanting(document("c1", 2)), 0);
      expect(() => record.settle(lie)).toThrow(FrameError);
    },
  );
});

describe("what is dropped", () => {
  const text = (length: number) => `"${"x".repeat(length - 2)}"`;

  test("the documents that were wanted least recently, never one that is wanted now", () => {
    const record = recordOf({ ...ROOMY, textBytes: 350 });
    for (const id of ["c1", "c2", "c3"]) pull(record, wanting(document(id, 1, text(100))));
    pull(record, wanting(document("c1", 1, text(100))));
    const wanted = wanting(document("c1", 1, text(100)), document("c4", 1, text(100)));
    const plan = pull(record, wanted);
    expect(plan).toMatchObject({ sent: ["c4.data", "c4.metrics"] });
    expect(plan.dropped).toEqual(["c2.data"]);
    expect(record.textBytes).toBeLessThanOrEqual(350);
  });

  test("the older version of a document does not count beside the newer one", () => {
    const record = recordOf({ ...ROOMY, textBytes: 230 });
    pull(record, wanting(document("c1", 1, text(100)), document("c2", 1, text(100))));
    const next = wanting(document("c1", 2, text(100)), document("c2", 1, text(100)));
    expect(pull(record, next)).toMatchObject({ sent: ["c1.data"], dropped: [] });
    expect(record.textBytes).toBe(208);
  });

  test("all of it, with another epoch", () => {
    const record = recordOf();
    record.noteSharer("digest");
    pull(record, wanting(document("c1")), 0);
    expect(record.sharers.size).toBe(1);
    const plan = pull(record, wanting(document("c1")), 7);
    expect(plan).toMatchObject({ sent: ["c1.data", "c1.metrics"], intake: { reset: true } });
    expect(record.sharers.size).toBe(0);
    expect(record.textBytes).toBe(7);
  });
});

test("what documents may add to a worker's memory covers the way in and never shrinks", () => {
  const record = recordOf();
  expect(record.peakBytes).toBe(0);
  pull(record, wanting(document("c1", 1, `"${"x".repeat(10_000)}"`)));
  const peak = record.peakBytes;
  expect(peak).toBeGreaterThan(40_000);
  pull(record, wanting(document("c2")), 1);
  expect(record.peakBytes).toBe(peak);
});
