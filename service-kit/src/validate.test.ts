import { Type } from "typebox";
import { describe, expect, it } from "vitest";
import { parse, typeName, validate } from "./validate.ts";

const Request = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    inputs: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    count: Type.Optional(Type.Integer({ minimum: 1 })),
    mode: Type.Optional(Type.Union([Type.Literal("fast"), Type.Literal("safe")])),
    replicas: Type.Optional(Type.Union([Type.String(), Type.Integer()])),
    node: Type.Optional(
      Type.Object({ id: Type.String(), gpus: Type.Array(Type.Object({ id: Type.String() })) }),
    ),
    target: Type.Optional(
      Type.Union([
        Type.Object({ kind: Type.Literal("node"), id: Type.String() }),
        Type.Object({ kind: Type.Literal("all") }),
      ]),
    ),
    "a/b~c": Type.Optional(Type.Object({ "": Type.Optional(Type.Number()) })),
  },
  { additionalProperties: false },
);

describe("validate", () => {
  it("gives the value itself when it holds", () => {
    const value = { name: "x", inputs: { any: [1] }, replicas: 5, mode: "fast" };
    const result = validate(Request, value);
    expect(result).toEqual({ kind: "valid", value });
    expect(result.kind === "valid" && result.value).toBe(value);
  });

  it.each([
    [undefined, "the request: expected object, got undefined"],
    [null, "the request: expected object, got null"],
    [[], "the request: expected object, got array"],
    ["{}", "the request: expected object, got string"],
    [{}, "name: required field is missing"],
    [{ name: "" }, "name: must NOT have fewer than 1 characters"],
    [{ name: 5 }, "name: expected string, got number"],
    [{ name: "x", inputs: "y" }, "inputs: expected object, got string"],
    [{ name: "x", inputs: null }, "inputs: expected object, got null"],
    [{ name: "x", nmae: 1 }, "nmae: unknown field"],
    [{ name: "x", count: "5" }, "count: expected integer, got string"],
    [{ name: "x", count: 1.5 }, "count: expected integer, got number"],
    [{ name: "x", count: 0 }, "count: must be >= 1"],
    [{ name: "x", mode: "slow" }, 'mode: expected "fast" or "safe"'],
    [{ name: "x", replicas: [] }, "replicas: expected string or integer, got array"],
    [{ name: "x", node: { id: "n" } }, "node.gpus: required field is missing"],
    [
      { name: "x", node: { id: "n", gpus: [{ id: "0" }, { id: 1 }] } },
      "node.gpus.1.id: expected string, got number",
    ],
    [{ name: "x", "a/b~c": 1 }, "a/b~c: expected object, got number"],
    [{ name: "x", "a/b~c": { "": "1" } }, "a/b~c.: expected number, got string"],
  ])("of %j says %j", (value, message) => {
    expect(validate(Request, value)).toEqual({ kind: "invalid", message });
  });

  it("names what a branch of a union lacks inside", () => {
    const result = validate(Request, { name: "x", target: { kind: "node" } });
    expect(result).toMatchObject({ kind: "invalid", message: expect.stringMatching(/^target\./) });
  });

  it("does not change numbers and strings into each other, nor fill in defaults", () => {
    const Loose = Type.Object({ a: Type.Optional(Type.Number({ default: 5 })) });
    const value = {};
    validate(Loose, value);
    expect(value).toEqual({});
    expect(validate(Loose, { a: "5" }).kind).toBe("invalid");
  });

  it("sees no inherited field", () => {
    const Named = Type.Object({ toString: Type.String() });
    expect(validate(Named, {}).kind).toBe("invalid");
  });
});

describe("parse", () => {
  it("gives the value, or throws INVALID_ARGUMENT with the message", () => {
    expect(parse(Request, { name: "x" })).toEqual({ name: "x" });
    expect(() => parse(Request, { name: 1 })).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: "name: expected string, got number",
      }),
    );
  });
});

describe("a pattern", () => {
  it("says in words what a parameter of digits is", () => {
    const limit = Type.Object({ limit: Type.String({ pattern: "^\\d{1,4}$" }) });
    const message = "limit: expected a whole number of up to 4 digits";
    expect(validate(limit, { limit: "x" })).toEqual({ kind: "invalid", message });
    const id = Type.Object({ id: Type.String({ pattern: "^[a-z]+$" }) });
    expect(validate(id, { id: "7" })).toMatchObject({ message: "id: expected text like ^[a-z]+$" });
  });
});

describe("typeName", () => {
  it.each([
    [null, "null"],
    [[], "array"],
    [{}, "object"],
    ["", "string"],
    [1, "number"],
    [true, "boolean"],
    [undefined, "undefined"],
  ])("calls %j %s", (value, name) => {
    expect(typeName(value)).toBe(name);
  });
});
