import { describe, expect, it } from "vitest";
import {
  A1,
  agent,
  OTHER_BOOT_COPY,
  play,
  REBOOTED,
  reporting,
  type Step,
  startedAfter,
} from "../testing/duplicate-scenario.ts";
import { descentOf } from "./descent.ts";
import { operatorPicks } from "./judge-duplicates.ts";
import type { Standing } from "./standing.ts";

const found = () =>
  play([
    [0, "asks", A1, "taken"],
    [1, "asks", OTHER_BOOT_COPY, "taken"],
    [12, "reports", "taken"],
    [13, "asks", A1, "duplicate"],
  ]);
const firstPicked = () => operatorPicks(found(), { instanceId: "A1" }, "now");
const copyPicked = () => operatorPicks(found(), { instanceId: "D" }, "now");
const COPY_REBOOTED = startedAfter(["A0", "A1", "D"], agent("D2", 7, "boot-10"));
const FIRST_REBOOTED = startedAfter(["A0", "A1"], REBOOTED);

describe("after an operator's pick, a start after a reboot", () => {
  it.each<[string, () => ReturnType<typeof found>, readonly Step[]]>([
    [
      "of the refused copy is refused, though it asks first and the picked one is away",
      firstPicked,
      [
        [100, "asks", COPY_REBOOTED, "refused"],
        [106, "asks", FIRST_REBOOTED, "taken"],
        ...reporting(107, 130),
        [131, "asks", COPY_REBOOTED, "refused"],
      ],
    ],
    [
      "of the refused first is refused, though its copy shares its past",
      copyPicked,
      [
        [100, "asks", FIRST_REBOOTED, "refused"],
        [106, "asks", COPY_REBOOTED, "taken"],
        ...reporting(107, 130),
      ],
    ],
    [
      "is judged by the starts since as well, over our restart",
      firstPicked,
      [
        [100, "asks", FIRST_REBOOTED, "taken"],
        [101, "asks", COPY_REBOOTED, "refused"],
        [200, "our restart"],
        [300, "asks", startedAfter(["D2"], agent("D3", 8, "boot-11")), "refused"],
        [301, "asks", startedAfter(["R"], agent("R2", 8, "boot-12")), "taken"],
      ],
    ],
    [
      "of the picked one waits for the one before it as any other does",
      firstPicked,
      [
        [100, "asks", A1, "taken"],
        [101, "asks", FIRST_REBOOTED, "wait"],
        [111, "asks", FIRST_REBOOTED, "taken"],
      ],
    ],
  ])("%s", (_what, picked, steps) => {
    expect(play(steps, picked()).standing).toMatchObject({ kind: "picked" });
  });

  it("of neither is not let in: an operator picks anew", () => {
    const stranger = startedAfter([], agent("S", 1, "boot-20"));
    const again = play(
      [
        [100, "asks", stranger, "duplicate"],
        [101, "asks", FIRST_REBOOTED, "duplicate"],
      ],
      firstPicked(),
    );
    expect(again.standing).toMatchObject({ kind: "duplicate" });
    const repicked = operatorPicks(again, { instanceId: "S" }, "now");
    play(
      [
        [200, "asks", FIRST_REBOOTED, "refused"],
        [201, "asks", stranger, "taken"],
      ],
      repicked,
    );
  });

  it("of neither waits while the picked one is there, and is refused as its copy", () => {
    const stranger = startedAfter([], agent("S", 9, "boot-20"));
    play(
      [
        [100, "asks", A1, "taken"],
        ...reporting(101, 102),
        [103, "asks", stranger, "wait"],
        ...reporting(104, 114),
        [115, "asks", stranger, "refused"],
        [116, "asks", A1, "taken"],
      ],
      firstPicked(),
    );
  });

  it("that was let in while the picked one was cut off does not refuse the picked one for good", () => {
    const copyOfPicked = startedAfter(["A1"], agent("E", 6, "boot-30"));
    const { standing } = play(
      [
        [100, "asks", A1, "taken"],
        [130, "asks", copyOfPicked, "taken"],
        ...reporting(131, 140),
        [141, "asks", A1, "wait"],
        ...reporting(142, 160),
        [161, "asks", A1, "duplicate"],
      ],
      firstPicked(),
    );
    expect(standing).toMatchObject({ kind: "duplicate" });
  });

  it("remembers a bounded number of starts, the newest ones", () => {
    let state = firstPicked();
    let last = "D";
    for (let n = 0; n < 200; n += 1) {
      const next = startedAfter([last], agent(`D-${n}`, 10 + n, ""));
      state = play([[100 + n, "asks", next, "refused"]], state);
      last = `D-${n}`;
    }
    const { standing } = state;
    expect(standing.kind === "picked" && standing.refused.instanceIds).toHaveLength(64);
  });
});

describe("a pick of an agent that has restarted since it was found", () => {
  const START_OF_A = startedAfter(["A0", "A1"], agent("A2", 7, "boot-3"));
  const COPY = startedAfter(["A0", "A1"], OTHER_BOOT_COPY);
  const START_OF_COPY = startedAfter(["A0", "A1", "D"], agent("D2", 8, "boot-10"));
  const restarted = () =>
    play([
      [0, "asks", A1, "taken"],
      [1, "asks", COPY, "taken"],
      [12, "reports", "taken"],
      [13, "asks", A1, "duplicate"],
      [20, "asks", START_OF_A, "duplicate"],
      [21, "asks", START_OF_COPY, "duplicate"],
    ]);

  it("lets its later start in, and refuses the copy with its own", () => {
    play(
      [
        [30, "asks", START_OF_COPY, "refused"],
        [31, "asks", COPY, "refused"],
        [32, "asks", START_OF_A, "taken"],
        ...reporting(33, 50),
        [60, "our restart"],
        [61, "asks", startedAfter(["A0", "A1", "A2"], agent("A3", 8, "boot-4")), "wait"],
        [72, "asks", startedAfter(["A0", "A1", "A2"], agent("A3", 8, "boot-4")), "taken"],
      ],
      operatorPicks(restarted(), { instanceId: "A1" }, "now"),
    );
  });

  it.each([["D"], ["D2"]])("works the other way round as well: %s", (instanceId) => {
    play(
      [
        [30, "asks", START_OF_A, "refused"],
        [31, "asks", A1, "refused"],
        [32, "asks", START_OF_COPY, "taken"],
      ],
      operatorPicks(restarted(), { instanceId }, "now"),
    );
  });

  it("does not take a copy that came later for its restart, as it was heard after that", () => {
    const late = startedAfter(["A0", "A1"], agent("E", 7, "boot-30"));
    const state = play(
      [
        [25, "our restart"],
        [26, "asks", late, "duplicate"],
        [27, "asks", A1, "duplicate"],
      ],
      restarted(),
    );
    play(
      [
        [30, "asks", late, "refused"],
        [31, "asks", A1, "taken"],
      ],
      operatorPicks(state, { instanceId: "A1" }, "now"),
    );
  });

  it("keeps a bounded number of former starts of each candidate", () => {
    const long = startedAfter(
      Array.from({ length: 256 }, (_none, n) => `former-${n}`),
      agent("L", 9, "boot-40"),
    );
    const { standing } = play([[30, "asks", long, "duplicate"]], restarted());
    const candidate = standing.kind === "duplicate" ? standing.candidates.at(-1) : undefined;
    expect(candidate?.formerIds).toHaveLength(32);
    expect(candidate?.formerIds?.at(-1)).toBe("former-255");
  });
});

describe("descentOf", () => {
  const standing: Standing = {
    ...{ kind: "picked", since: "now", candidates: [] },
    favoured: { instanceIds: ["first"], bootIds: ["boot-1"] },
    refused: { instanceIds: ["copy"], bootIds: ["boot-2"] },
  };

  it.each([
    ["in the refused boot", agent("x", 1, "boot-2"), ["first"], "refused"],
    ["in the favoured boot, without a past", agent("x", 1, "boot-1"), [], "favoured"],
    ["in the favoured boot, of the copy", agent("x", 1, "boot-1"), ["first", "copy"], "refused"],
    ["after the one that was let in last", agent("x", 1, "b"), ["holder"], "favoured"],
    ["after both, the first later", agent("x", 1, "b"), ["copy", "first"], "favoured"],
    ["whose past is not known", agent("x", 1, "b"), undefined, "open"],
    ["of a past that nobody knows", agent("x", 1, "b"), ["other"], "stranger"],
  ] as const)("tells a process %s", (_what, asking, formerIds, expected) => {
    const state = { standing, holderId: "holder" };
    expect(descentOf(state, { agent: asking, formerIds })).toBe(expected);
  });

  it("tells nothing of anybody while nobody has picked", () => {
    const lineage = { agent: agent("x", 1), formerIds: ["copy"] };
    expect(descentOf({ standing: { kind: "clear" } }, lineage)).toBe("open");
  });
});
