import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  applyWithOptional,
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PolicyContexts } from "./policy-contexts.ts";

const ORG = "default_org";

let directory: string;
let store: DocumentStore;
let contexts: PolicyContexts;

const open = (maxHeld = 1_000) => new PolicyContexts({ store, logger: silentLogger, maxHeld });

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-contexts-"));
  store = openSqliteDocumentStore(path.join(directory, "cp.db"), systemClock);
  contexts = open();
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

describe("PolicyContexts", () => {
  it("gives what was set at once, and after a restart what was flushed", async () => {
    expect(await contexts.get(ORG, "p:1-s")).toBe("{}");
    contexts.set(ORG, "p:1-s", '{"n":1}');
    expect(await contexts.get(ORG, "p:1-s")).toBe('{"n":1}');
    await contexts.stop();
    expect(await open().get(ORG, "p:1-s")).toBe('{"n":1}');
    expect(await open().get("another", "p:1-s")).toBe("{}");
  });

  it("keeps what is set while it is written", async () => {
    contexts.set(ORG, "p:1-s", '{"n":1}');
    const flushed = contexts.flush();
    await new Promise((resolve) => process.nextTick(resolve));
    contexts.set(ORG, "p:1-s", '{"n":2}');
    await flushed;
    expect(await contexts.get(ORG, "p:1-s")).toBe('{"n":2}');
    await contexts.flush();
    expect(await open().get(ORG, "p:1-s")).toBe('{"n":2}');
  });

  it("takes a context that is no longer in memory, or never was", async () => {
    contexts.set(ORG, "p:1-s", '{"n":1}');
    await contexts.flush();
    const fresh = open();
    fresh.set(ORG, "p:1-s", '{"n":2}');
    fresh.set(ORG, "q:1-s", '{"n":3}');
    await fresh.flush();
    expect(await open().get(ORG, "p:1-s")).toBe('{"n":2}');
    expect(await open().get(ORG, "q:1-s")).toBe('{"n":3}');
  });

  it("never forgets what is not written yet, and reads again what it has forgotten", async () => {
    const few = open(2);
    const uris = Array.from({ length: 20 }, (_, n) => `p${n}:1-s`);
    for (const uri of uris) few.set(ORG, uri, JSON.stringify({ uri }));
    for (const uri of uris) expect(await few.get(ORG, uri)).toBe(JSON.stringify({ uri }));
    await few.flush();
    for (const uri of uris) expect(await few.get(ORG, uri)).toBe(JSON.stringify({ uri }));
    for (const uri of uris) few.set(ORG, uri, '{"n":2}');
    await few.flush();
    for (const uri of uris) expect(await open().get(ORG, uri)).toBe('{"n":2}');
  });

  it("writes with the next flush what could not be written", async () => {
    let isFull = true;
    const full: Pick<DocumentStore, "get" | "apply"> = {
      get: (key) => store.get(key),
      apply: (writes) => (isFull ? Promise.reject(new Error("disk full")) : store.apply(writes)),
    };
    const failing = new PolicyContexts({ store: full, logger: silentLogger });
    failing.set(ORG, "p:1-s", '{"n":1}');
    await failing.flush();
    expect(await failing.get(ORG, "p:1-s")).toBe('{"n":1}');
    expect(await open().get(ORG, "p:1-s")).toBe("{}");
    isFull = false;
    await failing.flush();
    expect(await open().get(ORG, "p:1-s")).toBe('{"n":1}');
  });

  describe("removeWith", () => {
    const record = { orgId: ORG, collection: "policies", id: "p:1-s" };
    const remove = (from: PolicyContexts) =>
      from.removeWith(ORG, "p:1-s", (removal) => applyWithOptional(store, [], [removal]));
    const storedContexts = () => store.list({ orgId: ORG, collection: "policy_contexts" });

    it.each(["is written", "is not written yet"])("removes a context that %s", async (state) => {
      contexts.set(ORG, "p:1-s", '{"n":1}');
      contexts.set(ORG, "q:1-s", '{"n":2}');
      if (state === "is written") await contexts.flush();
      expect(await remove(contexts)).toEqual({ kind: "applied" });
      expect(await contexts.get(ORG, "p:1-s")).toBe("{}");
      await contexts.flush();
      expect((await storedContexts()).map(({ id }) => id)).toEqual(["q:1-s"]);
      contexts.set(ORG, "p:1-s", '{"n":3}');
      await contexts.flush();
      expect(await open().get(ORG, "p:1-s")).toBe('{"n":3}');
    });

    it("removes a context that is not in memory, in the transaction of the other writes", async () => {
      contexts.set(ORG, "p:1-s", '{"n":1}');
      await contexts.flush();
      await store.apply([{ kind: "insert", key: record, body: {} }]);
      const fresh = open();
      const removed = await fresh.removeWith(ORG, "p:1-s", (removal) =>
        store.apply([{ kind: "delete", key: record }, removal]),
      );
      expect(removed).toEqual({ kind: "applied" });
      expect(await storedContexts()).toEqual([]);
      expect(await fresh.get(ORG, "p:1-s")).toBe("{}");
    });

    it("keeps the context when the other writes are refused", async () => {
      contexts.set(ORG, "p:1-s", '{"n":1}');
      const refused = await contexts.removeWith(ORG, "p:1-s", (removal) =>
        applyWithOptional(store, [{ kind: "delete", key: record }], [removal]),
      );
      expect(refused).toMatchObject({ kind: "refused", why: "missing" });
      expect(await contexts.get(ORG, "p:1-s")).toBe('{"n":1}');
      await contexts.flush();
      expect(await open().get(ORG, "p:1-s")).toBe('{"n":1}');
    });

    it("gives nobody what was read before it and came after it", async () => {
      contexts.set(ORG, "p:1-s", '{"n":1}');
      await contexts.flush();
      let letGo = () => {};
      const held = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      const slow = new PolicyContexts({
        store: {
          get: async (key) => {
            const found = await store.get<never>(key);
            await held;
            return found;
          },
          apply: (writes) => store.apply(writes),
        },
        logger: silentLogger,
      });
      const reading = slow.get(ORG, "p:1-s");
      await remove(slow);
      letGo();
      expect(await reading).toBe("{}");
    });
  });
});
