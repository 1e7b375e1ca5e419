// A program for tests: writes documents into the store of argv[2] until it cannot, says why, and looks
// whether the store still answers. Run with a limit on the size of files, it meets a full disk.

import { systemClock } from "../clock.ts";
import { isBerthError } from "../errors.ts";
import { openSqliteDocumentStore } from "../store/sqlite-document-store.ts";

const MAX_DOCUMENTS = 1_000;

process.on("SIGXFSZ", () => undefined);
const store = openSqliteDocumentStore(process.argv[2] ?? "", systemClock);
const key = (id: number) => ({ orgId: "o", collection: "c", id: String(id) });
let written = 0;
let refusal: unknown;
while (refusal === undefined && written < MAX_DOCUMENTS) {
  try {
    await store.apply([{ kind: "insert", key: key(written), body: "x".repeat(4_096) }]);
    written += 1;
  } catch (thrown) {
    refusal = isBerthError(thrown) ? `${thrown.reason}: ${thrown.message}` : String(thrown);
  }
}
const kept = await store.list({ orgId: "o", collection: "c" });
process.stdout.write(JSON.stringify({ written, refusal, kept: kept.length }));
await store.close();
