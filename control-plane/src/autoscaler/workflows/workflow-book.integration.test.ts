import {
  type DocumentStore,
  openSqliteDocumentStore,
  parseLossless,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KeptDocuments } from "../../org/store/kept-documents.ts";
import { OrgTransactions } from "../../org/store/org-transactions.ts";
import {
  MAX_WORKFLOWS,
  type StoredWorkflow,
  WorkflowBook,
  workflowDocument,
} from "./workflow-book.ts";

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

async function open(over: DocumentStore = store): Promise<WorkflowBook> {
  const documents = new KeptDocuments<StoredWorkflow>({
    ...{ store: over, orgId: "o", collection: "workflows" },
  });
  const transactions = new OrgTransactions({ store: over, logger: silentLogger });
  const book = new WorkflowBook({
    ...{ documents, transactions, clock: systemClock },
    checks: { check: async () => {}, missing: async () => undefined },
  });
  transactions.add(book);
  await transactions.load();
  return book;
}

const body = (fields: object = {}) => ({
  ...{ workflow_id: "w", modules: { m: { code: "x = 1" } }, graph: { m: [] }, ...fields },
});
const key = (id: string) => ({ orgId: "o", collection: "workflows", id });

describe("the workflows of an org", () => {
  it("are there after a restart as they were written, numbers too", async () => {
    const book = await open();
    const text =
      '{"workflow_id":"w","globalParameters":{"x":10.0,"n":9007199254740993},"modules":{"m":{"code":"x = 1"}},"graph":{"m":[]}}';
    const made = await book.create(parseLossless(text));
    expect(made).toMatchObject({ id: "w", revision: 1, read: { kind: "valid" } });
    const again = await open();
    expect(JSON.stringify(again.get("w").body)).toBe(text);
    expect(again.all()).toEqual([made]);
    expect(again.runnable("w").graph.sink).toBe("m");
    const document = workflowDocument(again.get("w"), "o");
    expect(document).toMatchObject({ workflow_id: "w", org_id: "o", revision: 1, problem: null });
    expect(JSON.stringify(document.globalParameters)).toBe('{"x":10.0,"n":9007199254740993}');
  });

  it("have one id each, made up where the client gives none", async () => {
    const book = await open();
    const told = await Promise.allSettled([book.create(body()), book.create(body({ name: "2" }))]);
    expect(told[0]?.status).toBe("fulfilled");
    expect(told[1]).toMatchObject({ reason: { reason: "ALREADY_EXISTS", httpStatus: 409 } });
    const { id } = await book.create(body({ workflow_id: null }));
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(book.all().map((kept) => kept.id)).toEqual([id, "w"].toSorted());
    expect((await open()).all()).toEqual(book.all());
  });

  it("are replaced as a whole, by who knows the newest revision", async () => {
    const book = await open();
    const made = await book.create(body({ name: "one" }));
    expect(await book.replace("w", body({ name: "one" }), 1)).toEqual(made);
    const changed = await book.replace("w", body({ workflow_id: null, description: "d" }), 1);
    expect(changed).toMatchObject({ revision: 2, createdAt: made.createdAt });
    expect(changed.body).not.toHaveProperty("name");
    await expect(book.replace("w", body(), 1)).rejects.toMatchObject({
      ...{ reason: "STALE_REVISION", details: { revision: 2 } },
      message: 'If-Match: workflow "w" has revision 2, expected 1',
    });
    await expect(book.replace("w", body({ graph: { n: [] } }))).rejects.toThrow(/^graph\.n: /);
    await expect(book.replace("w", body({ workflow_id: "v" }))).rejects.toThrow(/keeps its id/);
    await expect(book.replace("none", body())).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect(book.get("w")).toEqual(changed);
    expect((await open()).get("w")).toEqual(changed);
  });

  it("are removed by who knows the newest revision", async () => {
    const book = await open();
    await book.create(body());
    await expect(book.remove("w", 7)).rejects.toMatchObject({ reason: "STALE_REVISION" });
    await book.remove("w", 1);
    expect(() => book.get("w")).toThrow('no workflow "w"');
    await expect(book.remove("w")).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect((await open()).all()).toEqual([]);
  });

  it("are kept with their problem when they are no longer valid, and can be replaced", async () => {
    const at = systemClock.timestamp();
    const old = { bodyJson: '{"graph":{"gone":[]}}', createdAt: at, updatedAt: at };
    await store.apply([
      { kind: "insert", key: key("old"), body: old },
      { kind: "insert", key: key("torn"), body: { ...old, bodyJson: '{"gra' } },
    ]);
    const book = await open();
    expect(workflowDocument(book.get("old"), "o")).toMatchObject({
      ...{ graph: { gone: [] }, problem: 'graph.gone: there is no module "gone".' },
    });
    expect(workflowDocument(book.get("old"), "o", "x").problem).toMatch(/^graph/);
    expect(workflowDocument(book.get("torn"), "o").problem).toBe("the stored body is no JSON");
    expect(() => book.runnable("old")).toThrow(/^workflow "old" cannot run: graph\.gone: /);
    const fixed = await book.replace("old", body({ workflow_id: "old" }), 1);
    expect(fixed).toMatchObject({ revision: 2, read: { kind: "valid" } });
    await book.remove("torn");
  });

  it("are what the store has after it failed, whether it wrote or not", async () => {
    let mode: "fine" | "refuses" | "writes and fails" = "fine";
    const failing = withApply(store, async (writes) => {
      if (mode === "refuses") throw new Error("the disk is full");
      const outcome = await store.apply(writes);
      if (mode === "writes and fails") throw new Error("the disk is gone");
      return outcome;
    });
    const book = await open(failing);
    mode = "refuses";
    await expect(book.create(body())).rejects.toThrow("the disk is full");
    expect(book.all()).toEqual([]);
    mode = "writes and fails";
    await expect(book.create(body())).rejects.toThrow("the disk is gone");
    expect(book.get("w").revision).toBe(1);
    mode = "fine";
    expect(await book.replace("w", body({ name: "n" }), 1)).toMatchObject({ revision: 2 });
  });

  it("are bounded", async () => {
    const at = systemClock.timestamp();
    const bodyJson = JSON.stringify(body({ workflow_id: null }));
    const full = Array.from({ length: MAX_WORKFLOWS }, (_, n) => ({
      ...{ kind: "insert" as const, key: key(`w${n}`) },
      body: { bodyJson, createdAt: at, updatedAt: at },
    }));
    await store.apply(full);
    const book = await open();
    await expect(book.create(body())).rejects.toMatchObject({ reason: "OVERLOADED" });
  });
});
