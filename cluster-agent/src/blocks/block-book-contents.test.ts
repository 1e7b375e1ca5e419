import { type LogFields, type Logger, silentLogger } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { entryOf, instanceOf } from "../testing/block-fixtures.ts";
import { DISK_FULL } from "../testing/faulty-store.ts";
import { bookOn, contents, emptyStore, op1, open } from "../testing/open-book.ts";
import { BOOK_LIMITS } from "./book-size.ts";

describe("instances", () => {
  it("are durable, replaced by their id, and shown in the order of their ids", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await book.create(entryOf("a"), op1);
    await book.putInstance(instanceOf("b", "in-2", { initDataJson: '{"n":1.0}' }));
    await book.putInstance(instanceOf("b", "in-1"));
    await book.putInstance(instanceOf("a", "in-3"));
    await book.putInstance(instanceOf("b", "in-2", { state: "removing" }));
    const ids = book.instances().map(({ blockId, instanceId }) => `${blockId}/${instanceId}`);
    expect(ids).toEqual(["a/in-3", "b/in-1", "b/in-2"]);
    expect(book.instance("b", "in-2")).toEqual(instanceOf("b", "in-2", { state: "removing" }));
    expect(await contents(await reopened())).toEqual(await contents(book));
  });

  it("are written once when they are put again, and forgotten once", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await book.putInstance(instanceOf("b", "in-1"));
    const { version } = book;
    await book.putInstance(instanceOf("b", "in-1"));
    expect(book.version).toBe(version);
    await book.removeInstance("b", "in-1");
    await book.removeInstance("b", "in-1");
    await book.removeInstance("nobody", "in-1");
    expect(book.version).toBe(version + 1);
    expect((await reopened()).instances("b")).toEqual([]);
  });

  it("keep what was put, whatever becomes of the object", async () => {
    const { book } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    const record = instanceOf("b", "in-1");
    await book.putInstance(record);
    (record.devices as unknown[]).push("more");
    expect(book.instance("b", "in-1")?.devices).toHaveLength(1);
  });

  it.each<[string, object, string]>([
    ["a bad id", { instanceId: "in/1" }, "instanceId: expected 1-61 characters"],
    ["an id too long for its block", { instanceId: "x".repeat(62) }, "instanceId"],
    ["a state of its own", { state: "lost" }, "state"],
    ["no node", { nodeId: undefined }, "nodeId"],
    ["init data that is no JSON", { initDataJson: "{" }, "initDataJson: expected JSON"],
    ["a device without its slot", { devices: [{ uuid: "GPU-1" }] }, "devices.0.slot"],
  ])("refuse %s", async (_what, more, message) => {
    const { book } = await bookOn(emptyStore());
    await book.create(entryOf("b"), op1);
    await expect(book.putInstance(instanceOf("b", "in-1", more))).rejects.toThrow(message);
    expect(book.instances()).toEqual([]);
  });

  it("are left as they were by a store that fails", async () => {
    const store = emptyStore();
    const { book, reopened } = await bookOn(store);
    await book.create(entryOf("b"), op1);
    await book.putInstance(instanceOf("b", "in-1"));
    const before = await contents(book);
    store.isFull = true;
    await expect(book.putInstance(instanceOf("b", "in-2"))).rejects.toThrow(DISK_FULL);
    await expect(book.removeInstance("b", "in-1")).rejects.toThrow(DISK_FULL);
    await expect(book.remove("b")).rejects.toThrow(DISK_FULL);
    expect(await contents(book)).toEqual(before);
    expect(await contents(await reopened())).toEqual(before);
  });
});

describe("removing a block", () => {
  it("takes its instances with it, no other's, and may be repeated", async () => {
    const { book, reopened } = await bookOn(emptyStore());
    for (const id of ["b", "b-2"]) {
      await book.create(entryOf(id), op1);
      await book.putInstance(instanceOf(id, "in-1"));
    }
    await book.remove("b");
    await book.remove("b");
    expect(await contents(book)).toMatchObject({
      ...{ blocks: [{ id: "b-2" }], instances: [{ blockId: "b-2" }] },
    });
    expect(await contents(await reopened())).toEqual(await contents(book));
    const again = await book.create(entryOf("b"), { operationId: "op-9" });
    expect(again.kind).toBe("created");
  });
});

describe("bounds", () => {
  const limits = { blocks: 2, instances: 2, characters: 200 };

  it("hold for blocks that are created at once, and free their place again", async () => {
    const { book } = await bookOn(emptyStore(), limits);
    const tries = ["a", "b", "c"].map((id) => book.create(entryOf(id), op1));
    const settled = await Promise.allSettled(tries);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    await expect(book.create(entryOf("c"), op1)).rejects.toMatchObject({
      ...{
        reason: "OVERLOADED",
        message: "this cluster holds at most 2 blocks; remove some before",
      },
    });
    await book.remove("a");
    expect((await book.create(entryOf("c"), op1)).kind).toBe("created");
  });

  it("hold for instances", async () => {
    const { book } = await bookOn(emptyStore(), limits);
    await book.create(entryOf("b"), op1);
    for (const id of ["in-1", "in-2"]) await book.putInstance(instanceOf("b", id));
    await expect(book.putInstance(instanceOf("b", "in-3"))).rejects.toThrow("at most 2 instances");
    await book.putInstance(instanceOf("b", "in-2", { state: "removing" }));
    await book.removeInstance("b", "in-2");
    await book.putInstance(instanceOf("b", "in-3"));
  });

  it("hold for all texts together, whatever was refused before", async () => {
    const store = emptyStore();
    const { book } = await bookOn(store, limits);
    await book.create(entryOf("b"), op1);
    const long = "x".repeat(150);
    store.isFull = true;
    await expect(book.update("b", { text: long })).rejects.toThrow(DISK_FULL);
    store.isFull = false;
    await book.update("b", { text: long });
    await expect(book.create(entryOf("c", { text: long }), op1)).rejects.toThrow(
      "at most 200 characters of entries and init data",
    );
    await book.update("b", { text: "" });
    expect((await book.create(entryOf("c", { text: long }), op1)).kind).toBe("created");
  });
});

describe("a store with documents of another shape", () => {
  it("has them reported, and left as they are", async () => {
    const store = emptyStore();
    const before = await open(store);
    await before.create(entryOf("good"), op1);
    const body = { phase: "running", operationId: "o", createdAt: "", updatedAt: "" };
    const bodies: Record<string, unknown> = {
      "blocks/no-object": 7,
      "blocks/no-json": { ...body, json: "{secret" },
      "blocks/other-id": { ...body, json: '{"id":"good"}' },
      "blocks/no-entry": { ...body, json: '{"id":"no-entry","tags":7}' },
      "blocks/no-phase": { ...body, json: '{"id":"no-phase"}', phase: "flying" },
      "instances/good/other": instanceOf("good", "in-1"),
      "instances/good/in-2": { ...instanceOf("good", "in-2"), devices: 7 },
    };
    for (const [name, bad] of Object.entries(bodies)) {
      const [collection = "", ...id] = name.split("/");
      const key = { orgId: "default_org", collection, id: id.join("/") };
      await store.apply([{ kind: "insert", key, body: bad }]);
    }
    const lines: LogFields[] = [];
    const logger: Logger = {
      ...silentLogger,
      error: (_message, fields = {}) => lines.push(fields),
    };
    const book = await open(store, BOOK_LIMITS, logger);
    expect(book.blocks().map(({ id }) => id)).toEqual(["good"]);
    expect(new Set(book.unreadable())).toEqual(new Set(Object.keys(bodies)));
    expect(lines).toHaveLength(7);
    expect(JSON.stringify(lines)).not.toContain("secret");
    const conflict = { reason: "CONFLICT" };
    await expect(book.create(entryOf("no-json"), op1)).rejects.toMatchObject(conflict);
    await expect(book.remove("no-json")).rejects.toMatchObject(conflict);
    const instance = instanceOf("good", "in-2");
    await expect(book.putInstance(instance)).rejects.toMatchObject(conflict);
    expect((await open(store)).unreadable()).toHaveLength(7);
  });
});
