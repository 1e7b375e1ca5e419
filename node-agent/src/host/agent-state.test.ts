import { expect, it } from "vitest";
import { parseState } from "./agent-state.ts";

it("reads what it wrote", () => {
  const state = { incarnation: 4, fallbackMachineId: "x", instanceIds: ["a", "b"] };
  expect(parseState(JSON.stringify(state))).toEqual(state);
  const answered = { ...state, answeredId: "a" };
  expect(parseState(JSON.stringify(answered))).toEqual(answered);
});

it("reads what a version wrote that did not keep the starts", () => {
  const kept = { incarnation: 4, fallbackMachineId: "x" };
  expect(parseState(JSON.stringify(kept))).toEqual({ ...kept, instanceIds: [] });
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
  '{"incarnation":1,"fallbackMachineId":"x","instanceIds":"a"}',
  '{"incarnation":1,"fallbackMachineId":"x","instanceIds":[1]}',
  '{"incarnation":1,"fallbackMachineId":"x","instanceIds":[""]}',
  '{"incarnation":1,"fallbackMachineId":"x","instanceIds":[],"answeredId":7}',
])("does not take %j for a state", (text) => {
  expect(parseState(text)).toBeUndefined();
});
