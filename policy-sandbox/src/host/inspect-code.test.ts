import { expect, test } from "vitest";
import { checkOn, unpackOn } from "./inspect-code.ts";
import type { JobReply } from "./job.ts";
import { NotBegun, type PoolWorker } from "./pool-task.ts";
import { PartSizes } from "./resident-input.ts";
import { ResidentRecord } from "./resident-record.ts";

/** A worker that gives this reply to whatever it is asked. */
function workerThatReplies(reply: JobReply): PoolWorker {
  return {
    instances: new Set(),
    residents: new ResidentRecord({ textBytes: 0, heapBytes: 0 }, new PartSizes()),
    run: async () => reply,
    cancel: () => undefined,
    discard: () => undefined,
  };
}

const LATE: JobReply[] = [
  {
    kind: "ended",
    cause: "wall",
    message: "the policy ignored its deadline",
    cpuMs: 1,
    begun: true,
  },
  { kind: "ended", cause: "cpu", message: "the interpreter failed: ", cpuMs: 1, begun: true },
  { kind: "done", facts: { fired: "cpu", cpuMs: 1 }, sections: [] },
];

test.each(LATE)("a deadline while an archive is read is told as such: %j", async (reply) => {
  expect(await unpackOn(workerThatReplies(reply), new Uint8Array())).toEqual({
    kind: "refused",
    reason: "too_large",
    message: "the archive takes too long to unpack",
  });
});

test.each(LATE)("a deadline while code is read is told as such: %j", async (reply) => {
  expect(await checkOn(workerThatReplies(reply), {})).toEqual({
    kind: "unavailable",
    message: "the code takes too long to read",
  });
});

test("a reader that dies of an archive says of what", async () => {
  const reply: JobReply = {
    kind: "ended",
    cause: "memory",
    message: "too much",
    cpuMs: 1,
    begun: true,
  };
  expect(await unpackOn(workerThatReplies(reply), new Uint8Array())).toEqual({
    kind: "refused",
    reason: "corrupt",
    message: "the archive broke its reader: too much",
  });
});

test.each([
  ["an archive", (worker: PoolWorker) => unpackOn(worker, new Uint8Array())],
  ["code", (worker: PoolWorker) => checkOn(worker, {})],
])("a reader that ended before it was given %s says nothing about it", async (_name, read) => {
  const reply: JobReply = { kind: "ended", cause: "exit", message: "gone", cpuMs: 0, begun: false };
  const answer = await read(workerThatReplies(reply));
  expect(answer).toEqual(new NotBegun({ kind: "unavailable", message: "gone" }));
});
