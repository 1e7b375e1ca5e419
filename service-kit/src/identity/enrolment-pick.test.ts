import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { DuplicateWatch } from "../duplicates/duplicate-watch.ts";
import type { Standing } from "../duplicates/standing.ts";
import { silentLogger } from "../log.ts";
import type { DocumentStore } from "../store/document-store.ts";
import { KeyedDocuments } from "../store/keyed-documents.ts";
import { openSqliteDocumentStore } from "../store/sqlite-document-store.ts";
import { A1, RULES, SAME_BOOT_COPY } from "../testing/duplicate-scenario.ts";
import { openEnrolment } from "./enrolment.ts";
import { newSecret, sha256 } from "./enrolment-token.ts";

const ORG = { orgId: "org-a" };
const BERLIN = { subjectId: "berlin", identity: "process:m1:d1" };
const PICKED: Standing = {
  ...{ kind: "picked", since: "2026-01-01T00:00:00.000Z" },
  candidates: [A1, SAME_BOOT_COPY].map((one) => ({ ...one, firstSeenAt: "2026-01-01T00:00:00Z" })),
  favoured: { instanceIds: [A1.instanceId], bootIds: [] },
  refused: { instanceIds: [SAME_BOOT_COPY.instanceId], bootIds: [] },
};

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

/** The enrolment and the watch of a program that starts on the store. */
async function opened() {
  const shared = { store, ...ORG, clock: systemClock, logger: silentLogger };
  const watch = new DuplicateWatch({
    ...{ ...shared, subject: "cluster", rules: RULES, onDuplicate: () => undefined },
    standings: new KeyedDocuments<Standing>({ store, ...ORG, collection: "standings" }),
  });
  await watch.load(new Map());
  const enrolment = await openEnrolment({
    ...{ ...shared, subject: "cluster" },
    onKeyReplacing: (id, replace) => watch.keyReplaced(id, replace),
  });
  return { watch, enrolment };
}

/** A key of its own with what it shows, enrolled as berlin's by a token that was made for it. */
async function enrolled({ enrolment }: Awaited<ReturnType<typeof opened>>) {
  const key = newSecret();
  const own = { keySha256: sha256(key), authorization: `Bearer ${key}` };
  const { token } = await enrolment.createToken({ subjectId: "berlin" });
  return { own, enrol: () => enrolment.enrol(`Bearer ${token}`, { ...BERLIN, ...own }) };
}

/** A program on a store that knows an operator's pick, with a key of the picked agent. */
async function picked() {
  const before = await opened();
  const first = await enrolled(before);
  await first.enrol();
  await new KeyedDocuments<Standing>({ store, ...ORG, collection: "standings" }).save(
    "berlin",
    PICKED,
  );
  return { program: await opened(), first: first.own };
}

describe("a key that takes the place of a picked agent's", () => {
  it("ends the pick, together with the old key and over a restart", async () => {
    const { program, first } = await picked();
    const second = await enrolled(program);
    await second.enrol();
    for (const { watch, enrolment } of [program, await opened()]) {
      expect(watch.view("berlin").state).toBe("clear");
      expect(enrolment.authenticate(second.own).agent?.id).toBe("berlin");
      expect(() => enrolment.authenticate(first)).toThrow("is not enrolled");
    }
  });

  it("leaves the pick and the old key as they were when it cannot be written, also for the next start", async () => {
    const { program, first } = await picked();
    const second = await enrolled(program);
    const apply = store.apply.bind(store);
    store.apply = async (writes) => {
      const isBinding = writes.some(({ key }) => key.collection === "enrolment_bindings");
      if (isBinding) throw new Error("disk full");
      return await apply(writes);
    };
    await expect(second.enrol()).rejects.toThrow("disk full");
    store.apply = apply;
    for (const { watch, enrolment } of [program, await opened()]) {
      expect(watch.view("berlin").state).toBe("picked");
      expect(enrolment.authenticate(first).agent?.id).toBe("berlin");
      expect(() => enrolment.authenticate(second.own)).toThrow("is not enrolled");
    }
    await second.enrol();
    expect((await opened()).watch.view("berlin").state).toBe("clear");
  });
});
