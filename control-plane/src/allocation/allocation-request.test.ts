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
      hold: undefined,
    });
  });

  it("counts the placements that are asked for", () => {
    expect(parse({ ...base, inputs: { requests: [{}, {}] } }).requestCount).toBe(2);
    expect(parse({ ...base, inputs: [1] }).requestCount).toBeUndefined();
  });

  it.each([
    [{ assume_seconds: 0, hold: false }, 0, undefined],
    [{ assume_seconds: 2.5, hold: true }, 2.5, { ttlMs: 60_000 }],
    [{ assume_seconds: null, hold: {} }, undefined, { ttlMs: 60_000 }],
    [
      { assume_seconds: "", hold: { ttl_ms: 5_000, subject: "me" } },
      undefined,
      { ttlMs: 5_000, subject: "me" },
    ],
    [{ hold: null }, undefined, undefined],
  ])("reads %j", (fields, assumeSeconds, hold) => {
    const read = parse({ ...base, ...fields });
    expect(read.assumeSeconds).toBe(assumeSeconds);
    if (hold === undefined) expect(read.hold).toBeUndefined();
    else expect(read.hold).toMatchObject(hold);
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
    ['{"in\\u0070uts":[ 1 ],"policy_rule_uri":"p"}', "[ 1 ]"],
    ['{"inputs":1,"policy_rule_uri":"p","inputs":{"inputs":2} }', '{"inputs":2}'],
    ['{"x":{"inputs":3},"policy_rule_uri":"p","inputs":null}', "null"],
  ])("takes the inputs out of %s as they are written", (text, inputs) => {
    expect(parseText(text).inputsJson).toBe(inputs);
  });

  it("does not look into inputs of any size, and takes little time for them", () => {
    const inputs = `[${"1.0,".repeat(400_000)}1]`;
    const begunAt = performance.now();
    expect(parseText(`{"policy_rule_uri":"p","inputs":${inputs}}`).inputsJson).toBe(inputs);
    expect(performance.now() - begunAt).toBeLessThan(1_000);
  });

  it.each([
    [
      "levels",
      `"inputs":${"[".repeat(8_000_000)}`,
      /^inputs\[0\].*: nested deeper than 128 levels/,
    ],
    [
      "values in inputs",
      `"inputs":[${"0,".repeat(8_000_000)}0]`,
      /^inputs\[\d+\]: .*more than 500000/,
    ],
    [
      "values beside inputs",
      `"inputs":1,"filter":{"variable":"id","operator":"IN","value":[${"1.0,".repeat(4_000_000)}1]}`,
      /^filter\.value\[\d+\]: .*more than 500000/,
    ],
    [
      "values that are read one by one",
      `"inputs":[1,2],"parameters":{"a":[${"1.0,".repeat(200_000)}1]}`,
      /^parameters\.a\[\d+\]: the request has more than 100000 values and keys beside its inputs$/,
    ],
  ])("refuses too many %s at once, and says where", (_name, fields, message) => {
    const begunAt = performance.now();
    expect(() => parseText(`{"policy_rule_uri":"p",${fields}}`)).toThrow(message);
    expect(performance.now() - begunAt).toBeLessThan(1_000);
  });

  it.each([
    [{ input: { id: "b" } }, "dry_run"],
    [{ adhoc: null, input: { id: "b" }, mode: "dry_run" }, "dry_run"],
    [{ adhoc: false, input: { id: "b" }, mode: "" }, "dry_run"],
    [
      { adhoc: "false", input: { id: "b" }, mode: "select_clusters", policy_rule_uri: "p" },
      "select_clusters",
    ],
    [{ adhoc: 0, input: { id: "b" }, policy_rule_uri: "p", inputs: {} }, "dry_run"],
  ])("knows the block mode of %j", (message, mode) => {
    expect(readFrame(JSON.stringify(message)).blockMode()).toEqual({ mode, entry: { id: "b" } });
  });

  it.each([
    [{ mode: "dry_run" }, "input: expected the entry of a block, got nothing"],
    [{ adhoc: false, input: [] }, "input: expected the entry of a block, got array"],
    [{ input: {}, mode: "allocate" }, 'mode: expected "select_clusters" or "dry_run"'],
  ])("says what is wrong with the block mode of %j", (message, why) => {
    expect(() => readFrame(JSON.stringify(message)).blockMode()).toThrow(why);
  });

  it.each([
    { adhoc: true, mode: "dry_run", input: {} },
    { adhoc: 1, mode: "dry_run" },
    { adhoc: false },
    { adhoc: "", mode: "function" },
    { mode: "function" },
    { inputs: { mode: "function", input: {} } },
  ])("takes ad-hoc requests with %j", (fields) => {
    const { adhoc: _, ...rest } = base;
    expect(parse({ ...rest, ...fields })).toMatchObject({ policyRuleUri: "p:1-s" });
  });

  it.each([
    [{ clusters: ["a"], filter: { foo: 1 } }, "filter: expected clusterQuery"],
    [{ clusters: ["a"], search: { foo: 1 } }, "search.rankingPolicyRule: expected an object"],
  ])("checks in %j what it does not use", (fields, message) => {
    expect(() => parse({ ...base, ...fields })).toThrow(message);
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
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"ttl":5}}', "hold.ttl: unknown field"],
    [
      '{"policy_rule_uri":"p","inputs":{},"assume_seconds":1e999}',
      "from 0 to 300, got the number 1e999",
    ],
    ['{"policy_rule_uri":1e999,"inputs":{}}', "expected a string, got the number 1e999"],
    ['{"policy_rule_uri":"p","inputs":{},"adhoc":-1e999}', "got the number -1e999"],
    ['{"policy_rule_uri":"p","inputs":{},"clusters":1e999}', "an array, got the number 1e999"],
    ['{"policy_rule_uri":"p","inputs":{},"clusters":[1.0]}', "a string, got number"],
    ['{"policy_rule_uri":"p","inputs":{},"filter":1e999}', "an object, got the number 1e999"],
    ['{"policy_rule_uri":"p","inputs":{},"search":1e999}', "an object, got the number 1e999"],
    [
      '{"policy_rule_uri":"p","inputs":{},"search":{"rankingPolicyRule":1e999}}',
      "search.rankingPolicyRule: expected an object, got the number 1e999",
    ],
    [
      '{"policy_rule_uri":"p","inputs":{},"search":{"rankingPolicyRule":{"policyRuleURI":1e999}}}',
      "policyRuleURI: expected a policy, got the number 1e999",
    ],
    [
      '{"policy_rule_uri":"p","inputs":{},"filter":{"clusterQuery":1e999}}',
      "filter.clusterQuery: expected an object, got number",
    ],
    ['{"policy_rule_uri":"p","inputs":{},"hold":1e999}', "a boolean, got the number 1e999"],
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"ttl_ms":0}}', "hold.ttl_ms: expected"],
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"ttl_ms":600001}}', "from 1000 to 600000"],
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"subject":7}}', "hold.subject: expected a text"],
    ['{"policy_rule_uri":"p","inputs":{},"hold":{"ttl_ms":"x"}}', "hold.ttl_ms: expected"],
    [`${"[".repeat(100_000)}`, "the request[0][0]"],
    ['{"policy_rule_uri":"p","inputs":}', "the request is not JSON"],
  ])("refuses %s and says what is wrong", (text, message) => {
    expect(() => parseText(text)).toThrow(message);
  });

  it("survives 100,000 closed nesting levels", () => {
    const text = `{"policy_rule_uri":"p","inputs":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(() => parseText(text)).toThrow(/^inputs\[0\].*: nested deeper than 128/);
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
