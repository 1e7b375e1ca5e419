import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Verdict } from "./verdict.ts";
import { openVerdictLog } from "./verdict-log.ts";

const policy = { policyRuleUri: "p:1-s", parameters: {}, settings: {}, mode: "warn" } as const;
const denied: Verdict = { kind: "denied", reason: "too large", data: "too large" };

let directory: string;
let store: DocumentStore;
let wallClockMs: number;

beforeEach(() => {
  wallClockMs = Date.parse("2026-11-23T00:00:00Z");
  directory = mkdtempSync(path.join(tmpdir(), "berth-verdicts-"));
  store = openSqliteDocumentStore(path.join(directory, "a.db"), systemClock, {
    durability: "process",
  });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const clock = { ...systemClock, timestamp: () => new Date(wallClockMs).toISOString() };
const open = (maxRemembered = 100) =>
  openVerdictLog({
    ...{ store, orgId: "o", clock, logger: silentLogger },
    maxRemembered,
  });
const of = (about: string, verdict: Verdict) =>
  ({ hook: "add_block", about, policy, verdict }) as const;

it("keeps every verdict over restarts, the newest first", async () => {
  const log = await open();
  await log.note(of("block/echo", { kind: "allowed", changed: { id: "echo" } }));
  await log.note(of("block/echo", denied));
  expect(await (await open()).list({ limit: 10 })).toMatchObject([
    { hook: "add_block", about: "block/echo", mode: "warn", verdict: "denied", why: "too large" },
    { verdict: "allowed", isChanged: true, policyRuleUri: "p:1-s" },
  ]);
});

it("lists those of one hook, as many as are asked for", async () => {
  const log = await open();
  await log.note({ ...of("node/a", denied), hook: "add_node" });
  await log.note(of("block/a", denied));
  await log.note(of("block/b", denied));
  expect(await log.list({ limit: 1, hook: "add_node" })).toMatchObject([{ about: "node/a" }]);
  expect(await log.list({ limit: 1 })).toMatchObject([{ about: "block/b" }]);
});

it("counts a refusal that comes again, and begins anew when it is another one", async () => {
  const log = await open();
  const why = { ...denied, reason: "too many" };
  const times = [];
  for (const verdict of [denied, denied, denied, why, denied]) {
    times.push((await log.note(of("node/a", verdict))).times);
  }
  expect(times).toEqual([1, 2, 3, 1, 1]);
  expect(await log.list({ limit: 10 })).toMatchObject([
    { why: "too large", times: 1 },
    { why: "too many", times: 1 },
    { why: "too large", times: 3 },
  ]);
});

it("forgets the oldest beyond its bound, whoever writes at the same moment, over restarts and clocks set back", async () => {
  const log = await open(3);
  const abouts = ["1", "2", "3", "4", "5", "6"];
  await Promise.all(abouts.map((about) => log.note(of(about, denied))));
  const kept = async () => (await (await open(3)).list({ limit: 10 })).map(({ about }) => about);
  expect(await kept()).toEqual(["6", "5", "4"]);
  wallClockMs -= 3_600_000;
  await (await open(3)).note(of("7", denied));
  expect(await kept()).toEqual(["7", "6", "5"]);
});
