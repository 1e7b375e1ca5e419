import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { CHAT_ENTRY, entryOf, instanceOf } from "../testing/block-fixtures.ts";
import { DISK_FULL } from "../testing/faulty-store.ts";
import { bookOn, contents, emptyStore, op1 } from "../testing/open-book.ts";
import { type BlockEntry, parseBlockEntry } from "./block-entry.ts";

describe("creating a block", () => {
  it("is durable, keeps numbers as they were written, and begins in the phase creating", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    const text = '{"id":"b","parameters":{"t":1.0,"seed":12345678901234567890}}';
    const outcome = await book.create(parseBlockEntry(parseLossless(text)), op1);
    expect(outcome).toMatchObject({ kind: "created", record: { id: "b", phase: "creating" } });
    const after = (await reopened()).block("b");
    expect(after).toEqual(book.block("b"));
    expect(after).toMatchObject({ json: text, operationId: "op-1" });
    expect(after?.entry.parameters).toEqual({ t: 1, seed: Number("12345678901234567890") });
  });

  it("keeps what was given, whatever becomes of the object", async () => {
    const { book } = await bookOn(emptyStore());
    const parameters = { seed: 1 };
    const [plain, written] = [entryOf("b", { parameters }), entryOf("c", { parameters })];
    await book.create(plain, op1);
    await book.create({ ...written, x: parseLossless("1.0") }, op1);
    parameters.seed = 2;
    for (const id of ["b", "c"]) {
      expect(book.block(id)?.written.parameters).toEqual({ seed: 1 });
      expect(book.block(id)?.entry.parameters).toEqual({ seed: 1 });
    }
  });

  it("may be repeated by its operation, and tells another one that the block exists", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    await book.create(entryOf("b", { tags: ["first"] }), op1);
    const { version } = book;
    expect(await book.create(entryOf("b", { tags: ["again"] }), op1)).toMatchObject({
      ...{ kind: "created", record: { entry: { tags: ["first"] } } },
    });
    const other = { operationId: "op-2" };
    expect((await book.create(entryOf("b"), other)).kind).toBe("exists");
    expect(book.version).toBe(version);
    expect((await reopened()).blocks()).toEqual(book.blocks());
  });

  it("has one winner among operations at once", async () => {
    const { book } = await bookOn(emptyStore());
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        book.create(entryOf("b"), { operationId: `op-${index}` }),
      ),
    );
    expect(outcomes.filter(({ kind }) => kind === "created")).toHaveLength(1);
    expect(outcomes[0]?.kind).toBe("created");
  });

  it("refuses an entry that does not hold, and writes nothing", async () => {
    const { book } = await bookOn(emptyStore());
    const bad = { id: "b", tags: "x" } as unknown as BlockEntry;
    await expect(book.create(bad, op1)).rejects.toThrow("tags: expected array");
    expect(book.blocks()).toEqual([]);
    expect(book.version).toBe(0);
  });

  it("is undone by a store that fails, and holds at the next try", async () => {
    const store = emptyStore();
    const { book, reopened } = await bookOn(store);
    store.isFull = true;
    await expect(book.create(entryOf("b"), op1)).rejects.toThrow(DISK_FULL);
    expect(book.block("b")).toBeUndefined();
    expect(book.version).toBe(0);
    store.isFull = false;
    expect((await book.create(entryOf("b"), op1)).kind).toBe("created");
    expect((await reopened()).block("b")).toEqual(book.block("b"));
  });
});

describe("updating a block", () => {
  it("applies the seed's update to its numbers as they were written, and is durable", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    const text = `${JSON.stringify(CHAT_ENTRY).slice(0, -1)},"x":{"kept":1.50}}`;
    await book.create(parseBlockEntry(parseLossless(text)), op1);
    const update = parseLossless(
      '{"$set":{"blockMetadata.description":"Updated description for object detection block","minInstances":2,"x.new":7.0}}',
    );
    const record = await book.update(CHAT_ENTRY.id, update);
    expect(record.entry).toMatchObject({ minInstances: 2, blockMetadata: { usecase: "chat" } });
    expect(record.json).toContain('"x":{"kept":1.50,"new":7.0}');
    expect(record).toEqual(book.block(CHAT_ENTRY.id));
    expect((await reopened()).block(CHAT_ENTRY.id)).toEqual(record);
  });

  it("takes plain fields and the other operators", async () => {
    const { book } = await bookOn(emptyStore());
    await book.create(entryOf("b", { tags: ["a"], maxInstances: 3, colour: "red" }), op1);
    await book.update("b", { "parameters.deep.field": 1 });
    await book.update("b", {
      $push: { tags: "b" },
      $inc: { maxInstances: 2 },
      $unset: { colour: "" },
    });
    const { entry } = await book.update("b", { $pull: { tags: "a" } });
    expect(entry).toEqual({
      ...{ id: "b", tags: ["b"], maxInstances: 5, parameters: { deep: { field: 1 } } },
    });
  });

  it.each([
    [{ id: "c" }, "$set.id: this field cannot be changed"],
    [{ "cluster.reputation": 1 }, "$set.cluster.reputation: this field cannot be changed"],
    [{ status: {} }, "$set.status: this field cannot be changed"],
    [{ $unset: { instances: "" } }, "$unset.instances: this field cannot be changed"],
    [{ minInstances: 4 }, "minInstances: expected at most maxInstances, which is 3, got 4"],
    [{ policies: { a: 7 } }, "policies.a: expected"],
    [{ $rename: { tags: "t" } }, "$rename"],
    [{}, "the update: expected a non-empty object"],
    [{ blob: "x".repeat(262_144) }, "characters of JSON"],
    [{ [`parameters${".a".repeat(40)}`]: 1 }, "nested levels"],
  ])("refuses %j and changes nothing", async (update, message) => {
    const { book, reopened } = await bookOn(emptyStore());
    await book.create(entryOf("b", { maxInstances: 3 }), op1);
    const before = await contents(book);
    const { version } = book;
    await expect(book.update("b", update)).rejects.toThrow(message);
    expect(await contents(book)).toEqual(before);
    expect(await contents(await reopened())).toEqual(before);
    expect(book.version).toBe(version);
  });

  it("loses none of many at once", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    await book.create(entryOf("b", { count: 0 }), op1);
    await Promise.all(Array.from({ length: 50 }, () => book.update("b", { $inc: { count: 1 } })));
    expect((await reopened()).block("b")?.entry.count).toBe(50);
  });

  it("makes an update of what those before it have left", async () => {
    const { book } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await Promise.all(
      Array.from({ length: 20 }, (_, index) => [
        book.update("b", { $set: { [`parameters.put${index}`]: index } }),
        book.updateBy("b", ({ written }) => ({
          $set: { parameters: { ...written.parameters, [`told.${index}`]: index } },
        })),
      ]).flat(),
    );
    expect(Object.keys(book.block("b")?.entry.parameters ?? {})).toHaveLength(40);
  });

  it("writes nothing when nothing changes, and is undone by a store that fails", async () => {
    const store = emptyStore();
    const { book } = await bookOn(store);
    await book.create(entryOf("b", { tags: ["a"] }), op1);
    const { version } = book;
    store.isFull = true;
    await book.update("b", { tags: ["a"] });
    expect(store.refusals).toBe(0);
    await expect(book.update("b", { tags: [] })).rejects.toThrow(DISK_FULL);
    expect(book.block("b")?.entry.tags).toEqual(["a"]);
    expect(book.version).toBe(version);
  });

  it("tells that there is no such block", async () => {
    const { book } = await bookOn(emptyStore());
    const missing = { reason: "NOT_FOUND", message: 'no block "b"' };
    await expect(book.update("b", { tags: [] })).rejects.toMatchObject(missing);
    await expect(book.setPhase("b", "running")).rejects.toMatchObject(missing);
    await expect(book.putInstance(instanceOf("b", "in-1"))).rejects.toMatchObject(missing);
  });
});

describe("the phase of a block", () => {
  it("is durable with its message, which goes with the next phase", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await book.setPhase("b", "failed", "no node has a free GPU");
    const failed = (await reopened()).block("b");
    expect(failed).toMatchObject({ phase: "failed", message: "no node has a free GPU" });
    const { version } = book;
    await book.setPhase("b", "running");
    expect((await reopened()).block("b")).not.toHaveProperty("message");
    expect(book.version).toBe(version + 1);
    await book.setPhase("b", "running");
    expect(book.version).toBe(version + 1);
  });

  it("has a message of at most 2000 characters", async () => {
    const { book } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await book.setPhase("b", "failed", "x".repeat(3_000));
    expect(book.block("b")?.message).toBe("x".repeat(2_000));
  });

  it("stays when the entry is updated", async () => {
    const { book } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await book.setPhase("b", "failed", "why");
    const record = await book.update("b", { tags: ["x"] });
    expect(record).toMatchObject({ phase: "failed", message: "why", operationId: "op-1" });
  });
});
