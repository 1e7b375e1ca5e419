import { expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { silentLogger } from "../log.ts";
import { busContract } from "../testing/bus-contract.ts";
import { InProcessBus } from "./in-process-bus.ts";

const options = {
  logger: silentLogger,
  clock: systemClock,
  retry: { firstMs: 5, capMs: 10, most: 3 },
};

busContract("InProcessBus", () => new InProcessBus(options));

it("hands nothing to anybody when one queue is full", async () => {
  const bus = new InProcessBus({ ...options, limits: { messages: 1, bytes: 100 } });
  const got: string[] = [];
  await bus.subscribe({ subject: "a", handler: ({ text }) => void got.push(text) });
  const open = Promise.withResolvers<void>();
  await bus.subscribe({ subject: "a", handler: () => open.promise });
  await bus.publish({ subject: "a", text: "1" });
  await new Promise(setImmediate);
  const second = bus.publish({ subject: "a", text: "2" });
  await expect(second).rejects.toMatchObject({ reason: "OVERLOADED" });
  await new Promise(setImmediate);
  expect(got).toEqual(["1"]);
  open.resolve();
  await bus.close();
});

it("drops a repeated id for 2 minutes", async () => {
  let nowMs = 0;
  const clock = { ...systemClock, nowMs: () => nowMs };
  const bus = new InProcessBus({ ...options, clock });
  const got: string[] = [];
  await bus.subscribe({ subject: "a", handler: ({ text }) => void got.push(text) });
  await bus.publish({ subject: "a", text: "1", id: "x" });
  nowMs = 119_999;
  await bus.publish({ subject: "a", text: "2", id: "x" });
  nowMs = 120_000;
  await bus.publish({ subject: "a", text: "3", id: "x" });
  await new Promise(setImmediate);
  expect(got).toEqual(["1", "3"]);
  await bus.close();
});

it("hands over as many messages side by side as a subscription wants, begun in order, and no more", async () => {
  const bus = new InProcessBus(options);
  const running: { readonly text: string; readonly end: () => void }[] = [];
  const handler = ({ text }: { readonly text: string }) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    running.push({ text, end: resolve });
    return promise;
  };
  await bus.subscribe({ subject: "a", handler, atOnce: 2 });
  for (const text of ["1", "2", "3"]) await bus.publish({ subject: "a", text });
  await new Promise(setImmediate);
  expect(running.map(({ text }) => text)).toEqual(["1", "2"]);
  running[1]?.end();
  await new Promise(setImmediate);
  expect(running.map(({ text }) => text)).toEqual(["1", "2", "3"]);
  for (const { end } of running) end();
  await bus.close();
});

it("hands over what comes in the very moment in which the queue has run empty", async () => {
  const bus = new InProcessBus(options);
  const got: string[] = [];
  await bus.subscribe({ subject: "a", handler: ({ text }) => void got.push(text) });
  for (let turns = 0; turns < 20; turns += 1) {
    await bus.publish({ subject: "a", text: "first" });
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    await bus.publish({ subject: "a", text: "second" });
    await new Promise(setImmediate);
    expect(got.splice(0)).toEqual(["first", "second"]);
  }
  await bus.close();
});
