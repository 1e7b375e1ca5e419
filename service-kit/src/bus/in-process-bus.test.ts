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
