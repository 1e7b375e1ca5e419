import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { textSetting } from "./config.ts";
import { BerthError } from "./errors.ts";
import type { Part } from "./lifecycle.ts";
import { type ProcessLike, type Program, runProgram } from "./program.ts";

const QUIET = { BERTH_LOG_LEVEL: "silent" };
const settings = { name: textSetting({ env: "NAME", doc: "name", fallback: "x" }) };

describe("runProgram", () => {
  it.each(["SIGTERM", "SIGINT", "SIGHUP"])(
    "stops in order on %s, with exit code 0",
    async (signal) => {
      const { parts, events, started } = someParts();
      const process = new FakeProcess(QUIET);
      const run = runProgram(aProgram(parts), process);
      await started;
      process.emit(signal);
      await expect(run).rejects.toThrow("exit 0");
      expect(events).toEqual(["start a", "start b", "stop b", "stop a"]);
      expect(process.errors).toBe("");
    },
  );

  it("takes a second signal for the same request", async () => {
    const { parts, events, started } = someParts();
    const process = new FakeProcess(QUIET);
    const run = runProgram(aProgram(parts), process);
    await started;
    process.emit("SIGTERM");
    process.emit("SIGTERM");
    process.emit("SIGINT");
    await expect(run).rejects.toThrow("exit 0");
    expect(events.filter((event) => event.startsWith("stop"))).toEqual(["stop b", "stop a"]);
  });

  it.each(["end", "close"])("stops at %s of standard input when it is supervised", async (how) => {
    const { parts, started } = someParts();
    const process = new FakeProcess({ ...QUIET, BERTH_SUPERVISED: "1" });
    const run = runProgram(aProgram(parts), process);
    await started;
    if (how === "end") process.stdin.end();
    else process.stdin.destroy();
    await expect(run).rejects.toThrow("exit 0");
  });

  it("stays when standard input closes and nobody supervises it", async () => {
    const { parts, events, started } = someParts();
    const process = new FakeProcess(QUIET);
    const run = runProgram(aProgram(parts), process);
    await started;
    process.stdin.resume();
    const closed = new Promise((resolve) => process.stdin.once("close", resolve));
    process.stdin.end();
    await closed;
    expect(events).toEqual(["start a", "start b"]);
    process.emit("SIGTERM");
    await expect(run).rejects.toThrow("exit 0");
  });

  it("gives the settings to compose", async () => {
    const process = new FakeProcess({ ...QUIET, NAME: "given" });
    const compose = vi.fn((): readonly Part[] => {
      throw new Error("enough seen");
    });
    const run = runProgram({ name: "test", settings, compose }, process);
    await expect(run).rejects.toThrow("exit 1");
    expect(compose).toHaveBeenCalledWith({ name: "given" }, expect.anything());
  });
});

describe("runProgram when it cannot start", () => {
  it("prints every bad setting in one line and exits with 1", async () => {
    const refuse = { ...settings.name, read: () => refused("expected a name") };
    const process = new FakeProcess({ NAME: "x", BERTH_LOG_LEVEL: "loud" });
    const program = { name: "test", settings: { name: refuse }, compose: () => [] };
    await expect(runProgram(program, process)).rejects.toThrow("exit 1");
    expect(process.errors).toBe(
      'test: bad settings: NAME="x": expected a name; BERTH_LOG_LEVEL="loud": expected one of debug, info, warn, error, silent\n',
    );
  });

  it("stops the parts that began and prints the one clear line of a BerthError", async () => {
    const { parts, events } = someParts();
    const broken = aPart("c", events, async () => {
      throw new BerthError("UNAVAILABLE", "port 8000 is taken; set BERTH_HTTP_PORT");
    });
    const process = new FakeProcess(QUIET);
    await expect(runProgram(aProgram([...parts, broken]), process)).rejects.toThrow("exit 1");
    expect(events.slice(-3)).toEqual(["stop c", "stop b", "stop a"]);
    expect(process.errors).toBe("test: port 8000 is taken; set BERTH_HTTP_PORT\n");
  });

  it.each([
    [new Error("bug"), /^test: Error: bug\n\s+at /],
    [null, /^test: null\n$/],
    ["text", /^test: text\n$/],
  ])("prints what compose throws: %s", async (thrown, printed) => {
    const process = new FakeProcess(QUIET);
    const compose = async () => {
      throw thrown;
    };
    await expect(runProgram({ name: "test", settings, compose }, process)).rejects.toThrow(
      "exit 1",
    );
    expect(process.errors).toMatch(printed);
  });
});

describe("runProgram when it is stopped at a bad moment", () => {
  it("starts no further part after a signal during the start", async () => {
    const events: string[] = [];
    const process = new FakeProcess(QUIET);
    const first = aPart("a", events, async () => {
      process.emit("SIGTERM");
    });
    const run = runProgram(aProgram([first, aPart("b", events)]), process);
    await expect(run).rejects.toThrow("exit 0");
    expect(events).toEqual(["start a", "stop a"]);
  });

  describe("and something hangs", () => {
    beforeEach(() => {
      vi.useFakeTimers();
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    it("exits with 1 ten seconds after a signal during a start that hangs", async () => {
      const process = new FakeProcess(QUIET);
      let hanging: () => void = () => {};
      const hangs = new Promise<void>((resolve) => {
        hanging = resolve;
      });
      const part = aPart("a", [], () => {
        hanging();
        return new Promise(() => {});
      });
      void runProgram(aProgram([part]), process);
      await hangs;
      process.emit("SIGTERM");
      await vi.advanceTimersByTimeAsync(9_999);
      expect(process.exits).toEqual([]);
      expect(() => vi.advanceTimersByTime(1)).toThrow("exit 1");
    });

    it("leaves a part behind that does not stop in 5 s, and exits with 0", async () => {
      const { parts, events, started } = someParts();
      const process = new FakeProcess(QUIET);
      const stuck: Part = { ...aPart("c", events), stop: () => new Promise(() => {}) };
      const run = runProgram(aProgram([...parts, stuck]), process);
      const ended = expect(run).rejects.toThrow("exit 0");
      await started;
      await vi.advanceTimersByTimeAsync(0);
      process.emit("SIGTERM");
      await vi.advanceTimersByTimeAsync(5_000);
      await ended;
      expect(events.slice(-2)).toEqual(["stop b", "stop a"]);
    });
  });
});

describe("runProgram on a bug", () => {
  it.each([
    [new Error("bug"), /^test: uncaught exception: Error: bug\n/],
    [null, /^test: uncaught exception: null\n$/],
    [undefined, /^test: uncaught exception: undefined\n$/],
  ])("prints the uncaught %s and exits with 1", async (thrown, printed) => {
    const { parts, started } = someParts();
    const process = new FakeProcess(QUIET);
    void runProgram(aProgram(parts), process);
    await started;
    expect(() => process.emit("uncaughtException", thrown)).toThrow("exit 1");
    expect(process.errors).toMatch(printed);
  });
});

/** A process whose exit throws, as the real one never returns. */
class FakeProcess extends EventEmitter implements ProcessLike {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin = new PassThrough();
  readonly exits: number[] = [];
  errors = "";
  readonly stderr = {
    write: (text: string) => {
      this.errors += text;
    },
  };

  constructor(env: Readonly<Record<string, string>>) {
    super();
    this.env = env;
  }

  exit(code: number): never {
    this.exits.push(code);
    throw new Error(`exit ${code}`);
  }
}

function aProgram(parts: readonly Part[]): Program<typeof settings> {
  return { name: "test", settings, compose: () => parts };
}

function someParts(): { parts: readonly Part[]; events: string[]; started: Promise<void> } {
  const events: string[] = [];
  let done: () => void = () => {};
  const started = new Promise<void>((resolve) => {
    done = resolve;
  });
  const parts = [aPart("a", events), aPart("b", events, async () => done())];
  return { parts, events, started };
}

function aPart(name: string, events: string[], start: () => Promise<void> = async () => {}): Part {
  return {
    name,
    async start() {
      events.push(`start ${name}`);
      await start();
    },
    async stop() {
      events.push(`stop ${name}`);
    },
  };
}

function refused(message: string): never {
  throw new Error(message);
}
