import { describe, expect, it } from "vitest";
import {
  A1,
  A2,
  A3,
  FRESH_STATE,
  OTHER_BOOT_COPY,
  play,
  REBOOTED,
  reporting,
  type Step,
} from "../testing/duplicate-scenario.ts";
import { operatorPicks } from "./judge-duplicates.ts";

describe("a holder whose connection is open and answers", () => {
  const BESIDE = "asks beside the holder";

  it.each<[string, readonly Step[]]>([
    [
      "is not replaced by a later start, and by none after long silence",
      [
        [0, "asks", A1, "taken"],
        [1, BESIDE, A2, "wait"],
        [2, BESIDE, REBOOTED, "wait"],
        [300, BESIDE, A3, "wait"],
        [2_000, BESIDE, A2, "wait"],
        [2_001, "reports", "taken"],
      ],
    ],
    [
      "is taken itself when it comes again on another connection",
      [
        [0, "asks", A1, "taken"],
        [1, BESIDE, A1, "taken"],
        [30, BESIDE, A1, "taken"],
        ...reporting(31, 60),
      ],
    ],
    [
      "is replaced at once by a later start when it has gone",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 5),
        [6, BESIDE, A2, "wait"],
        [7, "asks", A2, "taken"],
        ...reporting(8, 60),
        [61, BESIDE, A2, "taken"],
      ],
    ],
    [
      "is not replaced by an earlier start when it has gone, until it is silent",
      [
        [0, "asks", A1, "taken"],
        [1, BESIDE, FRESH_STATE, "wait"],
        [2, "asks", FRESH_STATE, "wait"],
        [11, "asks", FRESH_STATE, "taken"],
      ],
    ],
  ])("%s", (_what, steps) => {
    expect(play(steps).standing).toEqual({ kind: "clear" });
  });

  it.each<[string, readonly Step[]]>([
    [
      "by the one beside it",
      [
        [17, "reports", "taken"],
        [18, BESIDE, A2, "duplicate"],
      ],
    ],
    [
      "by its own report",
      [
        [17, BESIDE, A2, "wait"],
        [18, "reports", "duplicate"],
      ],
    ],
    [
      "by the one beside it, though it has just gone",
      [
        [17, "reports", "taken"],
        [18, "asks", A2, "duplicate"],
      ],
    ],
  ])("is found out with a later start beside it after more than 10 s: %s", (_what, last) => {
    const { standing } = play([
      [0, "asks", A1, "taken"],
      ...reporting(1, 5),
      [6, BESIDE, A2, "wait"],
      ...reporting(7, 15),
      [16, BESIDE, A2, "wait"],
      ...last,
      [19, BESIDE, A1, "duplicate"],
      [20, "asks", A2, "duplicate"],
    ]);
    expect(standing).toMatchObject({ kind: "duplicate" });
  });

  it("is not replaced by another process that an operator's pick favours as well", () => {
    const found = play([
      [0, "asks", A1, "taken"],
      [1, "asks", OTHER_BOOT_COPY, "taken"],
      [12, "reports", "taken"],
      [13, "asks", A1, "duplicate"],
    ]);
    play(
      [
        [20, "asks", A1, "taken"],
        [40, BESIDE, A2, "wait"],
        [60, BESIDE, A2, "wait"],
        [61, "asks", A2, "taken"],
        [62, BESIDE, OTHER_BOOT_COPY, "refused"],
      ],
      operatorPicks(found, { bootId: "boot-1" }, "now"),
    );
  });
});
