import { openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { expect, it } from "vitest";
import { KeptDocuments } from "../../org/store/kept-documents.ts";
import { OrgTransactions } from "../../org/store/org-transactions.ts";
import { readGuardRules } from "../guards/read-guard-rules.ts";
import { GuardHistories, type StoredHistory } from "./guard-histories.ts";

it("loses no change that was made while a verdict was on its way", async () => {
  const store = openSqliteDocumentStore(":memory:", systemClock);
  const documents = new KeptDocuments<StoredHistory>({
    store,
    orgId: "o",
    collection: "guard_histories",
  });
  const transactions = new OrgTransactions({ store, logger: silentLogger });
  transactions.add(documents);
  await transactions.load();
  const histories = new GuardHistories(documents);
  const rules = readGuardRules("guards", {});
  const nowMs = Date.parse("2026-01-01T00:00:00.000Z");
  const look = () => histories.of("q", { current: 2, rules, nowMs });
  const from = look();
  const verdict = { ...from };
  histories.keep("q", verdict, from);
  expect(histories.isNewest("q", verdict)).toBe(true);
  const change = { atMs: nowMs, from: 2, to: 3 };
  await transactions.run((plan) => histories.note(plan, "q", change, rules));
  expect(histories.isNewest("q", verdict)).toBe(false);
  histories.keep("q", { ...verdict }, verdict);
  expect(look().changes).toMatchObject([{ firstMs: nowMs }]);
  await store.close();
});
