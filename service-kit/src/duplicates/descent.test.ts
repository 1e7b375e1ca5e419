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
