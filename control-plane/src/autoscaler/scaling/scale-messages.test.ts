import { describe, expect, it } from "vitest";
import {
  allocationSubject,
  confirmationSubject,
  everySubject,
  readConfirmation,
} from "./scale-messages.ts";
import { completionOf } from "./scale-request.ts";

describe("the subjects of the bus", () => {
  it("are the seed's and Berth's own", () => {
    expect(confirmationSubject("default_org")).toBe("default_org__alloc_response");
    expect(allocationSubject("default_org", "subject-001")).toBe(
      "berth.default_org.subject.subject-001.allocation",
    );
    expect(everySubject("acme")).toBe("berth.acme.>");
  });

  it.each([
    ["a.b c", "a%2Eb%20c"],
    ["*", "%2A"],
    [">", "%3E"],
    ["", "%00"],
    ["ü~('!)", "%C3%BC%7E%28%27%21%29"],
    ["a\ud800b", "a%EF%BF%BDb"],
  ])("have one token for an id, whatever is in it: %j", (id, token) => {
    expect(allocationSubject("o", id)).toBe(`berth.o.subject.${token}.allocation`);
  });
});

describe("a confirmation", () => {
  const read = (message: unknown) => readConfirmation(JSON.stringify(message));

  it("is read with all that it says", () => {
    const response = { status: "allocated", replicas: 3, zone: "eu" };
    const message = { uuid: "u", response, by: "allocator" };
    expect(read(message)).toEqual({ uuid: "u", response, message });
    expect(read({ uuid: "u", response: { replicas: "4" } })).toMatchObject({
      response: { status: "allocated", replicas: 4 },
    });
    expect(read({ uuid: "u", response: { status: "failed", replicas: null } })).toMatchObject({
      response: { status: "failed" },
    });
  });

  it.each([
    [[], /expected an object/],
    [{}, /uuid: expected text/],
    [{ uuid: 7, response: {} }, /uuid: expected text/],
  ])("is not read when it is %j", (message, why) => {
    expect(read(message)).toEqual({ kind: "unreadable", why: expect.stringMatching(why) });
  });

  it.each([
    [{ uuid: "u" }, /response: expected an object/],
    [{ uuid: "u", response: { status: 1 } }, /response.status: expected text/],
    [{ uuid: "u", response: { replicas: -1 } }, /response.replicas: expected a whole number/],
    [{ uuid: "u", response: { replicas: 1.5 } }, /response.replicas/],
    [{ uuid: "u", response: { replicas: true } }, /response.replicas/],
  ])("says that its request has failed when it is %j", (message, why) => {
    const response = { status: "failed", message: expect.stringMatching(why) };
    expect(read(message)).toEqual({ uuid: "u", response, message });
  });

  it("is not read when it is no JSON", () => {
    expect(readConfirmation("{")).toEqual({ kind: "unreadable", why: "it is no JSON" });
  });
});

describe("what a confirmation makes of a request for 3 replicas", () => {
  it.each([
    [{ status: "allocated", replicas: 3 }, "confirmed", 3],
    [{ status: "allocated", replicas: 2 }, "partial", 2],
    [{ status: "ok", replicas: 4 }, "partial", 4],
    [{ status: "allocated" }, "failed", undefined],
    [{ status: "Failed", replicas: 1 }, "failed", 1],
    [{ status: "unschedulable", replicas: 3 }, "failed", 3],
  ])("%j", (response, state, replicas) => {
    expect(completionOf({ replicas: 3 }, response)).toEqual({ state, replicas });
  });
});
