import { expect, it } from "vitest";
import { parseState } from "./agent-state.ts";

it("reads what it wrote", () => {
  const state = { incarnation: 4, fallbackMachineId: "x" };
  expect(parseState(JSON.stringify(state))).toEqual(state);
});

it.each([
  "",
  "{",
  "null",
  "[]",
  '{"incarnation":-1,"fallbackMachineId":"x"}',
  '{"incarnation":1.5,"fallbackMachineId":"x"}',
  '{"incarnation":"1","fallbackMachineId":"x"}',
  '{"incarnation":1}',
  '{"incarnation":1,"fallbackMachineId":""}',
])("does not take %j for a state", (text) => {
  expect(parseState(text)).toBeUndefined();
});
