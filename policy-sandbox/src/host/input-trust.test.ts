import { expect, test } from "vitest";
import { type InputCheck, InputTrust } from "./input-trust.ts";

const RUN = { tenant: "org/p", digest: "d1" };

function trustOf(share = 0, random = 0.5): InputTrust {
  return new InputTrust({ sampledShare: share, random: () => random });
}

function checked(trust: InputTrust, check: InputCheck, digest = RUN.digest): void {
  trust.note({ ...RUN, digest, mode: "checked" }, check, []);
}

function trusted(share = 0, random = 0.5): InputTrust {
  const trust = trustOf(share, random);
  for (let count = 0; count < 3; count += 1) checked(trust, "clean");
  return trust;
}

test("code gets the documents themselves after three evaluations on copies that it left alone", () => {
  const trust = trustOf();
  for (let count = 0; count < 3; count += 1) {
    expect(trust.modeFor("org/p", "d1")).toBe("checked");
    checked(trust, "clean");
  }
  expect(trust.modeFor("org/p", "d1")).toBe("shared");
  expect(trust.modeFor("org/p", "d2")).toBe("checked");
  expect(trust.modeFor("org/q", "d1")).toBe("checked");
});

test("an evaluation that could not be compared counts neither way", () => {
  const trust = trustOf();
  for (let count = 0; count < 10; count += 1) checked(trust, "unknown");
  expect(trust.modeFor("org/p", "d1")).toBe("checked");
  expect(trust.isWriter("org/p", "d1")).toBe(false);
});

test("code that changed its input gets copies for good, and the tenant's workers begin anew", () => {
  const trust = trustOf();
  checked(trust, "changed");
  expect(trust.modeFor("org/p", "d1")).toBe("private");
  for (let count = 0; count < 5; count += 1) checked(trust, "clean");
  expect(trust.modeFor("org/p", "d1")).toBe("private");
  expect(trust.isWriter("org/p", "d1")).toBe(true);
  expect(trust.epochOf("org/p")).not.toBe(trustOf().epochOf("org/p"));
  expect(trust.epochOf("org/q")).toBe(0);
});

test("the share decides how often trusted code is looked at", () => {
  expect(trusted(1 / 256, 0.003).modeFor("org/p", "d1")).toBe("sampled");
  expect(trusted(1 / 256, 0.004).modeFor("org/p", "d1")).toBe("shared");
});

test("when a sample finds damage, all code that shared the documents gets copies from then on", () => {
  const trust = trusted();
  for (let count = 0; count < 3; count += 1) checked(trust, "clean", "d2");
  for (let count = 0; count < 3; count += 1) checked(trust, "clean", "d3");
  trust.note({ ...RUN, mode: "sampled" }, "changed", ["d1", "d2"]);
  expect(["d1", "d2", "d3"].map((digest) => trust.isWriter("org/p", digest))).toEqual([
    true,
    true,
    false,
  ]);
});

test("verdicts are bounded: the oldest are forgotten", () => {
  const trust = trustOf();
  checked(trust, "changed");
  for (let count = 0; count < 5_000; count += 1) trust.modeFor("org/p", `other-${count}`);
  expect(trust.modeFor("org/p", "d1")).toBe("checked");
});
