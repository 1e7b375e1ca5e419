import { describe, expect, it } from "vitest";
import { createLogger, LOG_LEVELS, type LogLevel, silentLogger } from "./log.ts";

describe("createLogger", () => {
  it("writes one JSON line with program, level, time, message and fields", () => {
    const { logger, lines } = aLogger("info");
    logger.info("node joined", { node_id: "n1" });
    expect(lines()).toEqual([
      expect.objectContaining({
        program: "test",
        level: "info",
        msg: "node joined",
        node_id: "n1",
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      }),
    ]);
  });

  it.each(LOG_LEVELS.map((level, index) => [level, LOG_LEVELS.slice(index, 4)] as const))(
    "at level %s writes %j",
    (level, written) => {
      const { logger, lines } = aLogger(level);
      for (const one of ["debug", "info", "warn", "error"] as const) logger[one]("x");
      expect(lines().map((line) => line.level)).toEqual(written);
    },
  );

  it("adds a child's fields to each of its lines, and to no other", () => {
    const { logger, lines } = aLogger("info");
    logger.child({ component: "link" }).child({ cluster_id: "c" }).warn("lost");
    logger.warn("plain");
    expect(lines()[0]).toMatchObject({ component: "link", cluster_id: "c", msg: "lost" });
    expect(lines()[1]).not.toHaveProperty("component");
  });

  it("writes the causes of an error", () => {
    const { logger, lines } = aLogger("info");
    logger.error("failed", { err: new Error("outer", { cause: new Error("inner") }) });
    expect(lines()[0]).toMatchObject({ err: { message: "outer", cause: { message: "inner" } } });
  });

  const hostile: readonly [string, () => unknown][] = [
    ["a cyclic cause", () => cyclicError()],
    ["a cyclic property", () => Object.assign(new Error("x"), { self: cyclicObject() })],
    ["a cyclic object", () => cyclicObject()],
    ["a getter that throws", () => throwingGetter(new Error("x"))],
    ["a plain object whose getter throws", () => throwingGetter({})],
    ["a frozen error", () => Object.freeze(new Error("x"))],
    ["a chain of 50,000 causes", () => longChain(50_000)],
    ["a big integer", () => 1n],
    ["undefined", () => undefined],
    ["null", () => null],
    ["a symbol", () => Symbol("s")],
    ["a function", () => () => 1],
  ];
  it.each(hostile)("does not throw on %s as err or as a field", (_name, make) => {
    const { logger, lines } = aLogger("info");
    logger.error("failed", { err: make() });
    logger.error("failed", { other: make() });
    expect(lines().map((line) => line.msg)).toEqual(["failed", "failed"]);
  });
});

describe("silentLogger", () => {
  it("takes every call and is its own child", () => {
    for (const level of ["debug", "info", "warn", "error"] as const) silentLogger[level]("x");
    expect(silentLogger.child({ a: 1 })).toBe(silentLogger);
  });
});

function aLogger(level: LogLevel) {
  const written: string[] = [];
  const logger = createLogger(
    { program: "test", level },
    {
      write(text) {
        written.push(text);
      },
    },
  );
  const lines = (): Record<string, unknown>[] => written.map((text) => JSON.parse(text));
  return { logger, lines };
}

function cyclicObject(): object {
  const object: Record<string, unknown> = {};
  object.self = { object };
  return object;
}

function cyclicError(): Error {
  const error = new Error("a");
  error.cause = new Error("b", { cause: error });
  return error;
}

function throwingGetter(target: object): object {
  return Object.defineProperty(target, "trap", {
    enumerable: true,
    get() {
      throw new Error("trapped");
    },
  });
}

function longChain(length: number): Error {
  let error = new Error("first");
  for (let index = 1; index < length; index += 1) error = new Error("next", { cause: error });
  return error;
}
