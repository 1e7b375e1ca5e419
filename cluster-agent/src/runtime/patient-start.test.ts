import { type Logger, silentLogger } from "@berth/service-kit";
import { expect, it } from "vitest";
import { patientStart } from "./patient-start.ts";

function part(failures: string[]) {
  const calls: string[] = [];
  return {
    calls,
    name: "runtime",
    async start() {
      calls.push("start");
      const failure = failures.shift();
      if (failure !== undefined) throw new Error(failure);
    },
    async stop() {
      calls.push("stop");
    },
  };
}

it("starts at once where it can", async () => {
  const one = part([]);
  const patient = patientStart(one, { logger: silentLogger });
  await patient.start();
  await patient.stop();
  expect(one.calls).toEqual(["start", "stop"]);
});

it("goes on trying, and tells each kind of failure once", async () => {
  const told: unknown[] = [];
  const logger = { ...silentLogger, error: (message: string) => told.push(message) } as Logger;
  const one = part(["taken", "taken", "damaged"]);
  const patient = patientStart(one, { logger, retryMs: 1 });
  await patient.start();
  await expect.poll(() => one.calls.length).toBe(4);
  await patient.stop();
  expect(told).toHaveLength(2);
  expect(one.calls).toEqual(["start", "start", "start", "start", "stop"]);
});

it("ends its trying when it is stopped", async () => {
  const one = part(Array(9).fill("taken"));
  const patient = patientStart(one, { logger: silentLogger, retryMs: 60_000 });
  await patient.start();
  await patient.stop();
  expect(one.calls).toEqual(["start", "stop"]);
});
