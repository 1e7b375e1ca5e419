import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { DecisionLog } from "../allocation/decisions/decision-log.ts";
import type { DecisionQuery, DecisionRecord } from "../allocation/decisions/decision-record.ts";

/** Org of the decisions. */
export const ORG = "default_org";
/** A day in ms. */
export const DAY_MS = 24 * 60 * 60 * 1_000;

/** A store of decisions in a directory of its own, and the log over it. */
export class DecisionFixture {
  readonly #directory = mkdtempSync(path.join(tmpdir(), "berth-decisions-"));
  store = this.openStore();
  log = this.openLog();

  /** Opens the store, again when it was closed. */
  openStore(): DocumentStore {
    const file = path.join(this.#directory, "decisions.db");
    return openSqliteDocumentStore(file, systemClock, { durability: "process" });
  }

  /** Another log, of 7 days and 64 MiB when nothing else is said, over the fixture's store or another. */
  openLog(
    limits = { maxAgeMs: 7 * DAY_MS, maxBytes: 64 * 1024 * 1024 },
    on: DocumentStore = this.store,
  ): DecisionLog {
    return new DecisionLog({ store: on, orgId: ORG, limits, logger: silentLogger });
  }

  /** Records decisions of these numbers, of which only the policy's log is large. */
  async fill(count: number, policy_log = ""): Promise<void> {
    for (let number = 1; number <= count; number += 1)
      this.log.record(ORG, aRecord(number, { policy_log }));
    await this.log.flush();
  }

  /** The store; how many records each read of records gave is added to `reads`. */
  countingReads(reads: number[]): DocumentStore {
    return {
      ...bound(this.store),
      list: async (collection, page) => {
        const found = await this.store.list(collection, page);
        if (collection.collection === "decisions") reads.push(found.length);
        return found as never;
      },
    };
  }

  /** Closes the log and the store, and removes the directory. */
  async close(): Promise<void> {
    await this.log.stop();
    await this.store.close();
    rmSync(this.#directory, { recursive: true });
  }
}

/** A decision that placed on cluster "c1"; those of higher numbers are newer. */
export function aRecord(number: number, overrides: Partial<DecisionRecord> = {}): DecisionRecord {
  return {
    decision_id: `00000000-0000-7000-8000-${String(number).padStart(12, "0")}`,
    decided_at: new Date().toISOString(),
    outcome: "placed",
    policy_rule_uri: "p:1-s",
    policy_digest: "d",
    inputs_digest: "i",
    selection: "all",
    inventory_revision: 7,
    candidates: ["c1", "c2"],
    dropped: [{ id: "c3", reason: "unreachable" }],
    dropped_more: 0,
    warnings: [],
    data: { cluster_id: "c1" },
    error: null,
    attempts: 1,
    assume_seconds: 0,
    timings_ms: { total: 1, queued: 0, policy: 1, policy_cpu: 1 },
    policy_log: "",
    ...overrides,
  };
}

/** Number of a decision of {@link aRecord}. */
export function numberOf({ decision_id }: Pick<DecisionRecord, "decision_id">): number {
  return Number(decision_id.slice(-12));
}

/** A page of a log, its decisions parsed. */
export async function listed(
  log: DecisionLog,
  query: DecisionQuery,
  signal = new AbortController().signal,
): Promise<{ readonly decisions: readonly DecisionRecord[]; readonly next?: string }> {
  const { decisions, ...more } = await log.list(ORG, query, signal);
  return { decisions: decisions.map((text) => JSON.parse(text) as DecisionRecord), ...more };
}

/** A store's methods, to be given to a log with others in their place. */
export function bound(of: DocumentStore): DocumentStore {
  return {
    storeId: () => of.storeId(),
    get: (...args) => of.get(...args),
    list: (...args) => of.list(...args),
    apply: (...args) => of.apply(...args),
    renewStoreId: (...args) => of.renewStoreId(...args),
    raise: (...args) => of.raise(...args),
    sizeBytes: () => of.sizeBytes(),
    close: () => of.close(),
  };
}
