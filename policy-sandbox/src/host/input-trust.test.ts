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

test.each([
  [4, 1 / 8],
  [100, 1 / 8],
  [101, 1 / 32],
  [1_000, 1 / 32],
  [1_001, 1 / 256],
  [20_000, 1 / 256],
])(
  "the evaluation of trusted code with number %i is looked at with a share of %d",
  (number, share) => {
    for (const [random, mode] of [
      [share * 0.99, "sampled"],
      [share, "shared"],
    ] as const) {
      const trust = trusted(1 / 256, random);
      for (let count = 4; count < number; count += 1) trust.modeFor("org/p", "d1");
      expect(trust.modeFor("org/p", "d1")).toBe(mode);
    }
  },
);

test("code that waits with its first write until it is trusted is found within its first hundred evaluations", () => {
  // A fixed sequence that covers 0 to 1 evenly stands for chance.
  let step = 0;
  const random = () => {
    step += 1;
    return (step * 0.618_033_988_749_895) % 1;
  };
  const trust = new InputTrust({ sampledShare: 1 / 256, random });
  for (let count = 0; count < 3; count += 1) checked(trust, "clean");
  let evaluations = 3;
  while (!trust.isWriter("org/p", "d1")) {
    evaluations += 1;
    const mode = trust.modeFor("org/p", "d1");
    if (mode === "sampled") trust.note({ ...RUN, mode }, "changed", []);
  }
  expect(evaluations).toBeLessThan(30);
});

test("a share of none looks at nothing, and one of all at everything", () => {
  for (const [share, mode] of [
    [0, "shared"],
    [1, "sampled"],
  ] as const) {
    const trust = trusted(share, 0.999);
    for (let count = 0; count < 200; count += 1) {
      expect(trust.modeFor("org/p", "d1")).toBe(mode);
    }
  }
});

test("each code is new on its own", () => {
  const trust = trusted(1 / 256, 1 / 16);
  for (let count = 0; count < 2_000; count += 1) trust.modeFor("org/p", "d1");
  for (let count = 0; count < 3; count += 1) checked(trust, "clean", "d2");
  expect(trust.modeFor("org/p", "d1")).toBe("shared");
  expect(trust.modeFor("org/p", "d2")).toBe("sampled");
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
