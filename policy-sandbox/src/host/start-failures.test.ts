import { expect, test } from "vitest";
import { StartFailures } from "./start-failures.ts";
import { WorkerEnded } from "./worker-ended.ts";

const killed = () =>
  new WorkerEnded({ cause: "exit", message: "the worker was ended by SIGKILL" }, "SIGKILL");
const left = () => new WorkerEnded({ cause: "exit", message: "the worker left with code 1" }, null);

test("a start that a signal has ended is tried again at once, and nobody is refused", () => {
  const failures = new StartFailures();
  expect(failures.note(killed())).toEqual({ backoffMs: 0, suspectsImage: false, givesUp: false });
  expect(failures.note(killed())).toMatchObject({ backoffMs: 0, givesUp: false });
});

test("a start that takes too long is tried again at once, and nobody is refused", () => {
  const late = () => new WorkerEnded({ cause: "late", message: "it did not start in time" }, null);
  const failures = new StartFailures();
  expect(failures.note(late())).toMatchObject({ backoffMs: 0, givesUp: false });
  expect(failures.note(late())).toMatchObject({ backoffMs: 0, givesUp: false });
  expect(failures.note(late())).toMatchObject({ givesUp: true });
});

test("the third failure in a row gives up and waits longer and longer, up to 5 s", () => {
  const failures = new StartFailures();
  failures.note(killed());
  failures.note(killed());
  expect(failures.note(killed())).toEqual({ backoffMs: 1_000, suspectsImage: true, givesUp: true });
  expect(failures.note(killed())).toMatchObject({ backoffMs: 2_000, givesUp: true });
  for (let more = 0; more < 2_000; more += 1) failures.note(killed());
  expect(failures.note(killed())).toMatchObject({ backoffMs: 5_000, givesUp: true });
});

test("a start after which a worker came up leaves no failure behind", () => {
  const failures = new StartFailures();
  for (let round = 0; round < 5; round += 1) {
    expect(failures.note(killed())).toMatchObject({ backoffMs: 0, givesUp: false });
    failures.clear();
  }
});

test("a worker that ends by itself while it starts is tried again a little later, on an image that is looked at", () => {
  const failures = new StartFailures();
  expect(failures.note(left())).toEqual({ backoffMs: 250, suspectsImage: true, givesUp: false });
  expect(failures.note(left())).toMatchObject({ backoffMs: 500, givesUp: false });
  expect(failures.note(left())).toMatchObject({ backoffMs: 1_000, givesUp: true });
});

test("one failure that several starts wait for counts once", () => {
  const failures = new StartFailures();
  const one = killed();
  expect(failures.note(one)).toMatchObject({ givesUp: false });
  expect(failures.note(one)).toMatchObject({ givesUp: false });
  expect(failures.note(one)).toMatchObject({ givesUp: false });
});

test.each([
  ["a full disk", Object.assign(new Error("no space left"), { code: "ENOSPC" })],
  [
    "a process that cannot be made",
    new WorkerEnded({ cause: "spawn", message: "the worker could not be started" }, null),
  ],
  ["what is no error", "boom"],
])("%s gives up at once", (_name, error) => {
  expect(new StartFailures().note(error)).toMatchObject({ backoffMs: 250, givesUp: true });
});
