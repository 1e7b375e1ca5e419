import { describe, expect, it } from "vitest";
import { inputProblem } from "./input-problem.ts";

const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const texts = {
  settings: { json: '{"a":{"b":[1,2e999]}}', field: "settings", addedLevels: 0 },
  parameters: { json: `{"a":[0,${nested(70)}]}`, field: "search.parameters", addedLevels: 0 },
  input: {
    json: `{"inputs":{"1e400":"1e400","x":[1,-1e400,${nested(70)}]}}`,
    field: "",
    addedLevels: 1,
  },
};

describe("inputProblem", () => {
  it.each([
    [
      "settingsJson: not JSON, expected a JSON object",
      "settings: not JSON, expected a JSON object",
    ],
    ["inputJson: 40000000 bytes, at most 33554432 are allowed", "inputs: 40000000 bytes, at most"],
    ["input: the number -1e400 does not fit a double", "inputs.x[1]: the number -1e400 does not"],
    ["settings: the number 2e999 does not fit a double", "settings.a.b[1]: the number 2e999"],
    ["call.dataJson: 3 bytes", "call.dataJson: 3 bytes"],
  ])("tells %s as the client knows it", (message, told) => {
    expect(inputProblem(message, texts)).toContain(told);
  });

  it("names the place that is nested too deep, in levels of the client's own", () => {
    const told = inputProblem("inputJson: nested 73 deep, at most 64 are allowed", texts);
    expect(told).toMatch(/^inputs\.x\[2\](\[0\])+…?: nested deeper than 63 levels$/);
    const deep = inputProblem("parametersJson: nested 72 deep, at most 64 are allowed", texts);
    expect(deep).toMatch(/^search\.parameters\.a\[1\](\[0\])+…?: nested deeper than 64 levels$/);
  });
});
