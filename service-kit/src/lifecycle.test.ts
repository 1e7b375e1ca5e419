import { describe, expect, it } from "vitest";
import { type Part, startAll, stopAll } from "./lifecycle.ts";
import { type LogFields, type Logger, silentLogger } from "./log.ts";

describe("startAll", () => {
  it("starts parts one after the other and gives them", async () => {
    const { parts, events } = aProgram({});
    expect(await startAll(parts, silentLogger)).toEqual(parts);
    expect(events).toEqual(["start a", "start b", "start c"]);
  });

  it("stops the parts that began, the failed one too, in reverse order and rethrows", async () => {
    const { parts, events } = aProgram({ failsToStart: "b" });
    await expect(startAll(parts, silentLogger)).rejects.toThrow("b does not start");
    expect(events).toEqual(["start a", "start b", "stop b", "stop a"]);
  });

  it("rethrows the start's error when stopping fails as well", async () => {
    const { parts } = aProgram({ failsToStart: "c", failsToStop: "b" });
    await expect(startAll(parts, silentLogger)).rejects.toThrow("c does not start");
  });

  it("starts no further part once the signal is aborted", async () => {
    const controller = new AbortController();
    const { parts, events } = aProgram({ onStart: () => controller.abort() });
    const begun = await startAll(parts, silentLogger, controller.signal);
    expect(begun.map(({ name }) => name)).toEqual(["a"]);
    expect(events).toEqual(["start a"]);
  });
});

describe("stopAll", () => {
  it("stops in reverse order, also past a part that fails, and logs that one", async () => {
    const { parts, events } = aProgram({ failsToStop: "b" });
    const { logger, lines } = recordingLogger();
    await stopAll(parts, logger);
    expect(events).toEqual(["stop c", "stop b", "stop a"]);
    expect(lines).toEqual([
      { message: "a part did not stop in order", part: "b", err: new Error("b does not stop") },
    ]);
  });

  it("leaves a part that never stops behind after its limit", async () => {
    const { parts, events } = aProgram({ hangs: "c" });
    const { logger, lines } = recordingLogger();
    await stopAll(parts, logger, 20);
    expect(events).toEqual(["stop c", "stop b", "stop a"]);
    expect(lines).toEqual([
      expect.objectContaining({ part: "c", err: new Error("not stopped after 20 ms") }),
    ]);
  });

  it("goes past a part whose stop throws at once", async () => {
    const part: Part = {
      name: "broken",
      start: async () => {},
      stop() {
        throw new Error("at once");
      },
    };
    const { parts, events } = aProgram({});
    await stopAll([...parts, part], silentLogger);
    expect(events).toEqual(["stop c", "stop b", "stop a"]);
  });
});

interface Behaviour {
  readonly failsToStart?: string;
  readonly failsToStop?: string;
  readonly hangs?: string;
  readonly onStart?: () => void;
}

function aProgram(behaviour: Behaviour): { parts: readonly Part[]; events: string[] } {
  const events: string[] = [];
  const parts = ["a", "b", "c"].map((name) => ({
    name,
    async start() {
      events.push(`start ${name}`);
      behaviour.onStart?.();
      if (behaviour.failsToStart === name) throw new Error(`${name} does not start`);
    },
    async stop() {
      events.push(`stop ${name}`);
      if (behaviour.failsToStop === name) throw new Error(`${name} does not stop`);
      if (behaviour.hangs === name) await new Promise(() => {});
    },
  }));
  return { parts, events };
}

function recordingLogger(): { logger: Logger; lines: LogFields[] } {
  const lines: LogFields[] = [];
  const error = (message: string, fields: LogFields = {}) => {
    lines.push({ message, ...fields });
  };
  return { logger: { ...silentLogger, error }, lines };
}
