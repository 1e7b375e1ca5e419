import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createSandbox, PolicyContexts, type Sandbox } from "@berth/policy-sandbox";
import { STATE_DIR } from "@berth/policy-sandbox/testing/state-dir";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parsePublish, policyUri, toRecord } from "./policy-record.ts";
import { PolicyRegistry } from "./policy-registry.ts";

const ORG = "default_org";
const DIGEST = "d".repeat(64);
const LARGE = { list: Array.from({ length: 50_000 }, (_, n) => ({ n })) };

let directory: string;
let store: DocumentStore;
let sandbox: Sandbox;
let reads: number;
let policies: PolicyRegistry;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-listing-"));
  store = openSqliteDocumentStore(path.join(directory, "cp.db"), systemClock);
  sandbox = createSandbox({ stateDir: STATE_DIR });
  reads = 0;
  policies = new PolicyRegistry({
    store: counted(store),
    sandbox,
    contexts: new PolicyContexts({ store, logger: silentLogger }),
  });
});

afterEach(async () => {
  await sandbox.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

/** The store, of which it is counted how many records were read. */
function counted(of: DocumentStore): DocumentStore {
  return {
    storeId: () => of.storeId(),
    get: async (key) => {
      const found = await of.get<never>(key);
      if (found !== undefined) reads += 1;
      return found;
    },
    list: async (collection, page) => {
      const found = await of.list<never>(collection, page);
      reads += found.length;
      return found;
    },
    apply: (writes) => of.apply(writes),
    renewStoreId: (writes) => of.renewStoreId(writes),
    raise: (counter) => of.raise(counter),
    sizeBytes: () => of.sizeBytes(),
    close: () => of.close(),
  };
}

/** Stores policies as a version of Berth did that had no bound for records. */
async function storePolicies(count: number, metadata: object): Promise<void> {
  const records = Array.from({ length: count }, (_, n) => {
    const body = { name: `p${n}`, version: "1", release_tag: "t", metadata, code: "import x" };
    return toRecord(parsePublish(body), DIGEST, []);
  });
  const code = { orgId: ORG, collection: "policy_code", id: DIGEST };
  await store.apply([
    { kind: "insert", key: code, body: { files: { "code/function.py": "" } } },
    ...records.map((record) => {
      const key = { orgId: ORG, collection: "policies", id: policyUri(record) };
      const body = { record, settingsJson: "{}", parametersJson: "{}" };
      return { kind: "insert", key, body } as const;
    }),
  ]);
}

/** Turns of the event loop that others have while something is done. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  const count = () => {
    turns += 1;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  await work();
  clearImmediate(next);
  return turns;
}

describe("a registry of many large records", () => {
  it("reads them once for all refusals of unknown policies, and knows those that come and go", async () => {
    await storePolicies(3, {});
    const unknown = () => policies.get(ORG, "p0:2-t");
    await expect(unknown()).rejects.toThrow("Did you mean p0:1-t");
    const before = reads;
    await expect(unknown()).rejects.toThrow("Did you mean p0:1-t");
    await expect(policies.runnable(ORG, "q1:1-t")).rejects.toThrow("Did you mean p1:1-t");
    expect(reads).toBe(before);
    await policies.remove(ORG, "p0:1-t");
    await expect(unknown()).rejects.toThrow("Did you mean p1:1-t or p2:1-t?");
  });

  it("lets others have their turn between two of them", async () => {
    await storePolicies(8, LARGE);
    const refused = () => expect(policies.get(ORG, "p9:1-t")).rejects.toThrow("not found");
    expect(await turnsDuring(refused)).toBeGreaterThanOrEqual(4);
    expect(await turnsDuring(() => policies.list(ORG))).toBeGreaterThanOrEqual(4);
    expect(await policies.get(ORG, "p7:1-t")).toMatchObject({ metadata: LARGE });
  });

  it("does not read a record again for each run of its policy", async () => {
    await storePolicies(1, LARGE);
    const first = await policies.runnable(ORG, "p0:1-t");
    const before = reads;
    expect(await policies.runnable(ORG, "p0:1-t")).toBe(first);
    await policies.change(ORG, "p0:1-t", { metadata: {} });
    const after = reads;
    expect(await policies.runnable(ORG, "p0:1-t")).toBe(first);
    expect([before, reads]).toEqual([2, after]);
    expect(first.isPublished()).toBe(true);
    await policies.remove(ORG, "p0:1-t");
    expect(first.isPublished()).toBe(false);
    await expect(policies.runnable(ORG, "p0:1-t")).rejects.toThrow("not found");
  });

  it("refuses a change that makes a record too large, and takes one that makes it smaller", async () => {
    await storePolicies(1, LARGE);
    const change = (body: object) => policies.change(ORG, "p0:1-t", body);
    await expect(change({ description: "more" })).rejects.toThrow("metadata: it has ");
    const fewer = { list: LARGE.list.slice(1) };
    expect(await change({ metadata: fewer })).toMatchObject({ metadata: fewer });
    await change({ metadata: {} });
    await expect(change({ $set: { tags: "t".repeat(70_000) } })).rejects.toThrow(
      "tags: it has 70002 bytes of JSON; all that is not code may have 65536 together",
    );
  });

  it("refuses to publish a record that is too large, before it looks at the code", async () => {
    const body = { name: "p", version: "1", release_tag: "t", metadata: LARGE, code: "class A" };
    await expect(policies.publish(ORG, body, JSON.stringify(body))).rejects.toThrow("metadata: ");
  });
});
