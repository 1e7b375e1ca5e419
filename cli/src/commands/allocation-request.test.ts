import { describe, expect, it } from "vitest";
import { type AllocateOptions, allocationBody } from "./allocation-request.ts";

const policy = "p:1-s";
const build = (options: Partial<AllocateOptions>, file = "{}") =>
  allocationBody({ policy, ...options }, () => file);

describe("allocationBody", () => {
  it("sends only what was given", () => {
    expect(build({})).toEqual({ policy_rule_uri: policy, inputs: {} });
  });

  it("takes inputs as JSON where they are JSON, as text where they are words", () => {
    const input = ["n=2", "model=H100", 'list=["a"]', "flag=true", "eq=a=b", "empty="];
    expect(build({ input }).inputs).toEqual({
      n: 2,
      model: "H100",
      list: ["a"],
      flag: true,
      eq: "a=b",
      empty: "",
    });
  });

  it("lets --input override --inputs, and --gpus both", () => {
    const options = { inputs: '{"gpus":1,"a":1,"b":1}', input: ["a=2", "gpus=5"], gpus: "3" };
    expect(build(options).inputs).toEqual({ gpus: 3, a: 2, b: 1 });
  });

  it("reads @file and passes clusters, parameters and settings on", () => {
    const body = build(
      { inputs: "@in.json", cluster: ["c"], parameters: '{"w":1}', settings: "{}" },
      '{"x":1}',
    );
    expect(body).toEqual({
      policy_rule_uri: policy,
      inputs: { x: 1 },
      clusters: ["c"],
      parameters: { w: 1 },
      settings: {},
    });
  });

  it("keeps numbers as they were written", () => {
    const body = build({ inputs: '{"a":10.0,"b":9223372036854775809}', input: ["c=1.50"] });
    expect(JSON.stringify(body.inputs)).toBe('{"a":10.0,"b":9223372036854775809,"c":1.50}');
  });

  it.each<[Partial<AllocateOptions>, string]>([
    [{ input: ["novalue"] }, '--input "novalue": expected key=value'],
    [{ input: ["=1"] }, '--input "=1": expected key=value'],
    [{ input: ["a={"] }, "--input a: not JSON"],
    [{ inputs: "[1]" }, "--inputs: expected a JSON object or @file"],
    [{ inputs: "{" }, "--inputs: expected a JSON object or @file: "],
    [{ parameters: "10.0" }, "--parameters: expected a JSON object or @file"],
    [{ gpus: "1.5" }, '--gpus "1.5": expected a whole number from 0'],
    [{ gpus: "-1" }, '--gpus "-1": expected a whole number from 0'],
  ])("refuses %j and names the option", (options, message) => {
    expect(() => build(options)).toThrow(message);
  });

  it("names the option when its file cannot be read", () => {
    const read = () => {
      throw new Error("ENOENT: no such file");
    };
    expect(() => allocationBody({ policy, inputs: "@x" }, read)).toThrow(
      "--inputs: expected a JSON object or @file: ENOENT: no such file",
    );
  });
});
