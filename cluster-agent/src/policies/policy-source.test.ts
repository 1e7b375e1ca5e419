import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  BerthError,
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HandClock } from "../testing/fixtures.ts";
import { type FetchedPolicy, type FetchPolicy, PolicySource } from "./policy-source.ts";

const URI = "alloc.best:1.0-stable";

let directory: string;
let store: DocumentStore;
let clock: HandClock;
let published: FetchedPolicy | undefined;
let isLinked: boolean;
let asked: string[];

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-policies-"));
  clock = new HandClock();
  store = openSqliteDocumentStore(path.join(directory, "a.db"), clock, { durability: "process" });
  published = version("1");
  isLinked = true;
  asked = [];
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const version = (name: string): FetchedPolicy => ({
  digest: `sha256:${name}`,
  filesJson: JSON.stringify({ "code/function.py": `# ${name}` }),
  settingsJson: "{}",
  parametersJson: '{"gpus":1.0}',
});

const fetchPolicy: FetchPolicy = async (uri, knownDigest) => {
  asked.push(knownDigest);
  if (!isLinked) throw new BerthError("UNAVAILABLE", "the control-plane is not linked");
  if (published === undefined) throw new BerthError("NOT_FOUND", `no policy ${uri}`);
  return knownDigest === published.digest ? { ...published, filesJson: "" } : published;
};

const open = () =>
  new PolicySource({ store, orgId: "o", fetch: fetchPolicy, clock, logger: silentLogger });

describe("PolicySource", () => {
  it("asks once for callers of the same moment, and again after 10 s, without the files that it has", async () => {
    const source = open();
    const [one, two] = await Promise.all([source.runnable(URI), source.runnable(URI)]);
    expect(one).toMatchObject({ uri: URI, name: "alloc.best", parametersJson: '{"gpus":1.0}' });
    expect(one.code.files).toEqual({ "code/function.py": "# 1" });
    expect(two.code).toEqual(one.code);
    clock.advance(9_999);
    await source.runnable(URI);
    expect(asked).toEqual([""]);
    clock.advance(1);
    expect((await source.runnable(URI)).code).toEqual(one.code);
    expect(asked).toEqual(["", "sha256:1"]);
    expect(one.isPublished()).toBe(true);
  });

  it("goes on with what it knows while the control-plane is away, over restarts too", async () => {
    await open().runnable(URI);
    isLinked = false;
    const again = open();
    expect((await again.runnable(URI)).code.digest).toBe("sha256:1");
    await expect(again.runnable("other:1-s")).rejects.toMatchObject({
      reason: "UNAVAILABLE",
      message: expect.stringContaining("policy other:1-s is not known here"),
    });
  });

  it("takes what was published anew under the URI, and ends the former version", async () => {
    const source = open();
    const former = await source.runnable(URI);
    published = version("2");
    clock.advance(10_000);
    expect((await source.runnable(URI)).code.files).toEqual({ "code/function.py": "# 2" });
    expect(former.isPublished()).toBe(false);
    isLinked = false;
    expect((await open().runnable(URI)).code.digest).toBe("sha256:2");
  });

  it("forgets what was removed", async () => {
    const source = open();
    const former = await source.runnable(URI);
    published = undefined;
    clock.advance(10_000);
    await expect(source.runnable(URI)).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect(former.isPublished()).toBe(false);
    isLinked = false;
    await expect(open().runnable(URI)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  });
});
