import { describe, expect, it } from "vitest";
import { readFrame } from "./allocation-request.ts";

const base = { adhoc: true, policy_rule_uri: "p:1-s", inputs: {} };
const parseText = (text: string) => readFrame(text).request();
const parse = (message: object) => parseText(JSON.stringify(message));

describe("readFrame", () => {
  it("reads the seed's message, in which empty fields mean nothing", () => {
    const sample = { ...base, clusters: [], filter: {}, search: {}, parameters: {}, settings: {} };
    expect(parse(sample)).toEqual({
      policyRuleUri: "p:1-s",
      selection: { kind: "all" },
      inputsJson: "{}",
      requestCount: undefined,
      parameters: {},
      settings: {},
      assumeSeconds: undefined,
      isHoldAsked: false,
    });
  });

  it.each([
    [{ assume_seconds: 0, hold: false }, 0, false],
    [{ assume_seconds: 2.5, hold: true }, 2.5, true],
    [{ assume_seconds: null, hold: {} }, undefined, true],
    [{ assume_seconds: "", hold: { ttl_ms: 5_000 } }, undefined, true],
    [{ hold: null }, undefined, false],
  ])("reads %j", (fields, assumeSeconds, isHoldAsked) => {
    expect(parse({ ...base, ...fields })).toMatchObject({ assumeSeconds, isHoldAsked });
  });

  it.each([true, false, 1, 0, "true", "True", "false", "", null])("takes %j as adhoc", (adhoc) => {
    expect(parse({ ...base, adhoc })).toEqual(parse(base));
  });

  it.each([
    [{}, "adhoc: expected true or false, got object"],
    [[true], "adhoc: expected true or false, got array"],
    ["yes", 'adhoc: expected true or false, got "yes"'],
    [2, "adhoc: expected true or false, got 2"],
  ])("refuses %j as adhoc", (adhoc, message) => {
    expect(() => parse({ ...base, adhoc })).toThrow(message);
  });

  it.each([
    ["missing", {}],
    ["null", { clusters: null, filter: null, search: null, parameters: null, settings: null }],
    ["empty text", { clusters: "", filter: "", search: "", parameters: "", settings: "" }],
  ])("reads %s fields as empty ones", (_name, fields) => {
    expect(parse({ ...base, ...fields })).toEqual(parse(base));
  });

  it("keeps the numbers of inputs as the client wrote them", () => {
    const text = '{"policy_rule_uri":"p:1-s","inputs":{"a":10.0,"b":9007199254740993,"c":1e3}}';
    expect(parseText(text).inputsJson).toBe('{"a":10.0,"b":9007199254740993,"c":1e3}');
  });

  it("drops repeated cluster ids and accepts one id as text", () => {
    const selectionOf = (clusters: unknown) => parse({ ...base, clusters }).selection;
    expect(selectionOf(["a", "b", "a"])).toEqual({ kind: "ids", ids: ["a", "b"] });
    expect(selectionOf("a")).toEqual({ kind: "ids", ids: ["a"] });
  });

  it("lets ids win over a filter, and a filter over a search", () => {
    const filter = { clusterQuery: { variable: "id", operator: "==", value: "a" } };
    const search = { rankingPolicyRule: { policyRuleURI: "r:1-s" } };
    const kindOf = (fields: object) => parse({ ...base, ...fields }).selection.kind;
    expect(kindOf({ clusters: ["a"], filter, search })).toBe("ids");
    expect(kindOf({ clusters: [], filter, search })).toBe("filter");
    expect(kindOf({ filter: {}, search })).toBe("search");
  });

  it.each([
    ["requests of the inputs", { requests: [{}, {}] }, 2],
    ["inputs that are a list", [{}], 1],
    ["null inputs", null, undefined],
  ])("counts %s", (_name, inputs, count) => {
    expect(parse({ ...base, inputs }).requestCount).toBe(count);
  });

  it.each([
    ["not json", "the request is not JSON"],
    ["[]", "the request: expected a JSON object, got array"],
    ["null", "the request: expected a JSON object, got null"],
    ['"x"', "the request: expected a JSON object, got string"],
    ["{}", "Missing required fields: policy_rule_uri"],
    ['{"adhoc":true,"policy_rule_uri":"","inputs":{}}', "Missing required fields: policy_rule_uri"],
    ['{"adhoc":true,"policy_rule_uri":"p:1-s"}', "Missing required fields: inputs"],
    ['{"policy_rule_uri":3,"inputs":{}}', "policy_rule_uri: expected a string, got number"],
    [
      '{"policy_rule_uri":"p","inputs":{},"clusters":{}}',
      "clusters: expected an array, got object",
    ],
    [
      '{"policy_rule_uri":"p","inputs":{},"clusters":[1]}',
      "clusters[0]: expected a string, got number",
    ],
    [
      '{"policy_rule_uri":"p","inputs":{},"parameters":[]}',
      "parameters: expected an object, got array",
    ],
    ['{"policy_rule_uri":"p","inputs":{},"settings":1.50}', "settings: expected an object, got"],
    [
      '{"policy_rule_uri":"p","inputs":{},"request_id":{}}',
      "request_id: expected text or a number, got object",
    ],
    [
      '{"policy_rule_uri":"p","inputs":{},"assume_seconds":"5"}',
      "assume_seconds: expected a number",
    ],
    ['{"policy_rule_uri":"p","inputs":{},"assume_seconds":301}', "from 0 to 300, got 301"],
    ['{"policy_rule_uri":"p","inputs":{},"assume_seconds":-1}', "from 0 to 300, got -1"],
    [
      `{"policy_rule_uri":"p","inputs":{},"clusters":["${"x".repeat(254)}"]}`,
      "clusters[0]: expected at most 253 characters",
    ],
    ['{"policy_rule_uri":"p","inputs":{},"hold":"yes"}', "hold: expected"],
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"ttl_ms":0}}', "hold.ttl_ms: expected"],
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"ttl_ms":"x"}}', "hold.ttl_ms: expected"],
    ['{"input":{},"mode":"dry_run"}', "block mode"],
    ['{"adhoc":false,"input":{}}', "block mode"],
    [`${"[".repeat(100_000)}`, "the request is not JSON"],
  ])("refuses %s and says what is wrong", (text, message) => {
    expect(() => parseText(text)).toThrow(message);
  });

  it("survives 100,000 closed nesting levels", () => {
    const text = `{"policy_rule_uri":"p","inputs":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(() => parseText(text)).toThrow(/nested too deeply|nested/);
  });
});

describe("requestId", () => {
  it("keeps a number as it was written", () => {
    for (const id of ["9007199254740993", "7.0", "1e3"]) {
      expect(JSON.stringify(readFrame(`{"request_id":${id}}`).requestId)).toBe(id);
    }
  });

  it.each([
    ['{"request_id":"a"}', "a"],
    ['{"request_id":7}', 7],
    ['{"request_id":{}}', undefined],
    ["null", undefined],
    ["not json", undefined],
  ])("finds in %s the id %s", (text, id) => {
    expect(readFrame(text).requestId).toBe(id);
  });
});
