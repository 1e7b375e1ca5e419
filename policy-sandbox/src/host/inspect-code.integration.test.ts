import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { paxRecord, tarOf } from "../testing/archives.ts";
import { STATE_DIR } from "../testing/state-dir.ts";
import { unpackOn } from "./inspect-code.ts";
import { PartSizes } from "./resident-input.ts";
import { ResidentRecord } from "./resident-record.ts";
import { SnapshotStore } from "./snapshot.ts";
import { pyodideDir, xzScript } from "./spawn-worker.ts";
import { WorkerProcess } from "./worker-process.ts";

let worker: WorkerProcess;

beforeAll(async () => {
  const snapshotFile = await new SnapshotStore(STATE_DIR, () => undefined).ensure();
  const places = { pyodideDir: pyodideDir(), xzScript: xzScript() };
  worker = new WorkerProcess({ mode: "serve", ...places, snapshotFile });
  await worker.ready;
});
afterAll(async () => {
  worker.kill("closed", "the test is over");
  await worker.exited;
});

/** Every entry copies all the records of the global header. */
function slowArchive(): Buffer {
  const records = Array.from({ length: 20_000 }, (_, n) => paxRecord(`k${n}`, "v")).join("");
  const files = Array.from({ length: 900 }, (_, n) => ({ name: `code/f${n}.py`, data: "" }));
  return gzipSync(tarOf([{ name: "g", type: "g", data: records }, ...files]));
}

test("an archive that is slow to read is refused at the deadline, and the worker lives", async () => {
  const short = {
    instances: new Set<string>(),
    residents: new ResidentRecord({ textBytes: 0, heapBytes: 0 }, new PartSizes()),
    run: (job: Parameters<WorkerProcess["run"]>[0]) =>
      worker.run({ ...job, message: { ...job.message, wallMs: 400 } }),
    cancel: () => undefined,
    discard: () => undefined,
  };
  expect(await unpackOn(short, slowArchive())).toEqual({
    kind: "refused",
    reason: "too_large",
    message: "the archive takes too long to unpack",
  });
  expect(worker.alive).toBe(true);
});
