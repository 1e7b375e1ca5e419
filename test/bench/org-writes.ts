import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { openOrgBooks } from "../../control-plane/src/org/org-books.ts";
import type { QuotaBook } from "../../control-plane/src/org/quotas/quota-book.ts";
import { startControlPlane } from "../support/control-plane-process.ts";
import { quotaBody, RestClient } from "./org-client.ts";
import { type BenchOptions, compared, type Emit, median, quantile, rounded } from "./report.ts";

const FULL = { quotas: 2_000, many: 10_000, writers: 64, writes: 10_000, looks: 500 } as const;
const QUICK = { quotas: 50, many: 200, writers: 8, writes: 100, looks: 20 } as const;

/** So many writers change quotas, each one after the other, until so many writes were made. */
interface Load {
  readonly quotas: number;
  readonly writers: number;
  readonly writes: number;
}

/**
 * Durable changes of quotas by 64 writers at once, in this process and over 64 connections that stay open; and with 10,000 quotas
 * what a change costs, and finding the quotas of a subject behind it. Baseline: one writer alone in this process.
 */
export async function orgWritesBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const { many, looks, ...load } = quick ? QUICK : FULL;
  const { quotas, writers, writes } = load;
  const name = "1 writer in process";
  const value = await withBook(quotas, (book) =>
    perSecond({ quotas, writers: 1, writes: Math.ceil(writes / 10) }, changeIn(book)),
  );
  emit({ figure: `changes, ${name}`, value: rounded(value), unit: "/s" });
  const told = (figure: string, rate: number) =>
    emit(compared({ figure, value: rate, unit: "/s" }, { name, value }));
  const inProcess = await withBook(quotas, (book) => perSecond(load, changeIn(book)));
  told(`changes, ${writers} writers in process`, inProcess);
  const manyLoad = { ...load, quotas: many };
  await withBook(many, async (book) => {
    told(`changes, ${many} quotas`, await perSecond(manyLoad, changeIn(book)));
    await emitLook(emit, book, { many, looks });
  });
  const plane = await startControlPlane();
  const rest = new RestClient(plane.restUrl);
  try {
    await rest.createQuotas(quotas);
    const change = (n: number, replicas: number) =>
      rest.send("PUT", `/quota/quota-${n}`, { replica_count: replicas });
    // The first writes meet code that is not compiled yet.
    await perSecond(load, change);
    told(`changes, ${writers} connections`, await perSecond(load, change));
  } finally {
    rest.close();
    await plane.stop();
  }
}

type Change = (n: number, replicas: number) => Promise<unknown>;

function changeIn(book: QuotaBook): Change {
  return (n, replicas) => book.change(`quota-${n}`, { replica_count: replicas });
}

async function perSecond({ quotas, writers, writes }: Load, change: Change): Promise<number> {
  const turns = Array.from({ length: writes }, (_, turn) => turn).values();
  const write = async () => {
    // Never the number that a quota has: what changes nothing is not written.
    for (const turn of turns) await change(turn % quotas, 2 + Math.floor(turn / quotas));
  };
  const beginMs = performance.now();
  await Promise.all(Array.from({ length: writers }, write));
  return writes / ((performance.now() - beginMs) / 1_000);
}

/** Looking a subject's quotas up right after a change. */
async function emitLook(
  emit: Emit,
  book: QuotaBook,
  { many, looks }: { readonly many: number; readonly looks: number },
): Promise<void> {
  const times: number[] = [];
  for (let turn = 0; turn < looks; turn += 1) {
    await book.change(`quota-${turn % many}`, { replica_count: 1_000 + turn });
    const beginMs = performance.now();
    book.ofSubject(`subject-${many - 1 - (turn % many)}`);
    times.push((performance.now() - beginMs) * 1_000);
  }
  const figure = `finding a subject's quotas behind a change, ${many} quotas`;
  emit({ figure: `${figure}, p50`, value: rounded(median(times)), unit: "us" });
  emit({ figure: `${figure}, p99`, value: rounded(quantile(times, 0.99)), unit: "us" });
}

async function withBook<T>(count: number, work: (book: QuotaBook) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(path.join(tmpdir(), "berth-bench-"));
  const store = openSqliteDocumentStore(path.join(directory, "org.db"), systemClock);
  try {
    const { quotas } = await openOrgBooks({
      ...{ store, orgId: "bench", clock: systemClock, logger: silentLogger },
    });
    await Promise.all(Array.from({ length: count }, (_, n) => quotas.create(quotaBody(n))));
    return await work(quotas);
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
