import { describe, expect, it } from "vitest";
import { duplicatesText, pickBody } from "./pick.ts";

describe("berth pick", () => {
  it.each([
    [{}, undefined],
    [{ instance: "a" }, { agent_instance_id: "a" }],
    [{ boot: "b" }, { boot_id: "b" }],
  ])("sends for %j what the server reads", (options, body) => {
    expect(pickBody(options)).toEqual(body);
  });

  it("picks by one of instance and boot", () => {
    expect(() => pickBody({ instance: "a", boot: "b" })).toThrow("--instance, --boot");
  });

  it("says that there is nothing to pick", () => {
    expect(duplicatesText({ state: "clear", since: null, candidates: [] })).toContain("nothing");
  });

  it("lists the candidates, without control characters of theirs", () => {
    const candidate = {
      agent_instance_id: "i-1",
      boot_id: "b-1\u001b[31m",
      address: null,
      first_seen_at: "2026-01-01T00:00:00.000Z",
      age_ms: 12,
      verdict: "undecided",
    };
    const text = duplicatesText({ state: "duplicate", since: "today", candidates: [candidate] });
    expect(text).toContain("both are refused, since today");
    expect(text).toMatch(/i-1 +undecided +- +b-1/);
    expect(text).toContain("12 ms ago");
    expect(text).not.toContain("\u001b");
  });
});
