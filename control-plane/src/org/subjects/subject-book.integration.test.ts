import { openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openOrgBooks } from "../org-books.ts";
import { subjectDocument } from "./subject.ts";
import type { SubjectBook } from "./subject-book.ts";

let store: ReturnType<typeof openSqliteDocumentStore>;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

async function open(): Promise<SubjectBook> {
  const books = await openOrgBooks({
    ...{ store, orgId: "o", clock: systemClock, logger: silentLogger },
  });
  return books.subjects;
}

const TRAINER = { subject_id: "subject-001", name: "Trainer-A", type: "gpu-node" };

describe("subjects", () => {
  it("are there after a restart, with all that was told of them", async () => {
    const book = await open();
    await book.create({ ...TRAINER, team: { id: 7 } });
    await book.create({ subject_id: "a" });
    await book.change("subject-001", { name: "Trainer-B", type: null });
    await book.create({ subject_id: "gone" });
    await book.remove("gone");
    const documents = (await open()).all().map((subject) => subjectDocument(subject, "o"));
    expect(documents).toEqual([
      { subject_id: "a", org_id: "o" },
      { subject_id: "subject-001", name: "Trainer-B", team: { id: 7 }, org_id: "o" },
    ]);
  });

  it("have one id each, which stays", async () => {
    const book = await open();
    const twice = await Promise.allSettled([book.create(TRAINER), book.create(TRAINER)]);
    expect(twice.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    await expect(book.change("subject-001", { subject_id: "b" })).rejects.toThrow("keeps its id");
    await expect(book.change("none", {})).rejects.toMatchObject({ reason: "NOT_FOUND" });
    await expect(book.remove("none")).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });

  it.each([
    [{}, "subject_id: required"],
    [{ subject_id: "" }, "subject_id: expected 1-253"],
    [{ subject_id: 7 }, "subject_id: expected text, got number"],
    [{ subject_id: "a/b" }, "subject_id"],
    [{ subject_id: "a", name: 7 }, "name: expected text, got number"],
    [{ subject_id: "a", type: {} }, "type: expected text, got object"],
    [{ subject_id: "a", more: "x".repeat(70_000) }, "the subject: expected at most"],
  ])("are refused by the field: %j", async (body, message) => {
    const book = await open();
    // What does not hold at all is thrown before anything is awaited.
    const write = async () => book.create(body);
    await expect(write()).rejects.toMatchObject({ reason: "INVALID_ARGUMENT" });
    await expect(write()).rejects.toThrow(message);
    expect(book.all()).toEqual([]);
  });
});
