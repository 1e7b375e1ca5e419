import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HandClock } from "../testing/fixtures.ts";
import { openCommandJournal } from "./command-journal.ts";

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", new HandClock());
});
afterEach(() => store.close());

const open = () => openCommandJournal({ store, orgId: "o", clock: new HandClock() });
const long = "x".repeat(20_000);

describe("the journal of commands", () => {
  it("keeps a long result and a long command until they are acknowledged, over restarts", async () => {
    const result = { kind: "result", json: `"${long}"` } as const;
    const journal = await open();
    await journal.begin("c1", long);
    await journal.finish("c1", { memory: {}, result });
    const [unfinished] = await (await open()).unfinished();
    expect(unfinished).toMatchObject({ id: "c1", entry: { command: long, result } });
    expect(await journal.begin("c1", long)).toEqual({ kind: "done", result });
    await journal.acknowledge("c1");
    const after = await (await open()).begin("c1", long);
    expect(after).toMatchObject({
      kind: "done",
      result: {
        kind: "refusal",
        reason: "CONFLICT",
        message: expect.stringMatching(/answered before/),
      },
    });
    const key = { orgId: "o", collection: "commands", id: "c1" };
    expect(JSON.stringify(await store.get(key)).length).toBeLessThan(1_000);
  });

  it("keeps short ones after that", async () => {
    const result = { kind: "result", json: "{}" } as const;
    const journal = await open();
    await journal.begin("c1", "short");
    await journal.finish("c1", { memory: {}, result });
    await journal.acknowledge("c1");
    expect(await journal.begin("c1", "short")).toEqual({ kind: "done", result });
  });
});
