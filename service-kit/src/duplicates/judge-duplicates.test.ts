import { describe, expect, it } from "vitest";
import {
  A1,
  A2,
  A3,
  agent,
  FRESH_STATE,
  moment,
  OTHER_BOOT_COPY,
  play,
  REBOOTED,
  RULES,
  reporting,
  SAME_BOOT_COPY,
  type Step,
} from "../testing/duplicate-scenario.ts";
import { agentAsks } from "./judge-duplicates.ts";

describe("what is not a duplicate", () => {
  it.each<[string, readonly Step[]]>([
    ["a first registration", [[0, "asks", A1, "taken"], ...reporting(1, 60)]],
    [
      "a clean restart, at once",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 30),
        [31, "asks", A2, "taken"],
        ...reporting(32, 90),
        [91, "asks", A3, "taken"],
        ...reporting(92, 120),
      ],
    ],
    [
      "a crash whose last reports arrive late",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 30),
        [31, "asks", FRESH_STATE, "wait"],
        ...reporting(32, 38),
        [49, "asks", FRESH_STATE, "taken"],
        ...reporting(50, 120),
      ],
    ],
    [
      "a restart on a state directory made anew, once the old process is silent",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 30),
        [31, "asks", FRESH_STATE, "wait"],
        [40, "asks", FRESH_STATE, "wait"],
        [41, "asks", FRESH_STATE, "taken"],
        ...reporting(42, 120),
      ],
    ],
    [
      "a reboot",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 30),
        [90, "asks", REBOOTED, "taken"],
        ...reporting(91, 120),
      ],
    ],
    [
      "a link that flaps: the same process comes again and again",
      [
        [0, "asks", A1, "taken"],
        ...Array.from({ length: 200 }, (_, index): Step => [index + 1, "asks", A1, "taken"]),
      ],
    ],
    [
      "the same process after a long partition",
      [
        [0, "asks", A1, "taken"],
        [5_000, "asks", A1, "taken"],
      ],
    ],
    [
      "a restart while we were restarting",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 10),
        [20, "our restart"],
        [21, "asks", A2, "taken"],
        ...reporting(22, 60),
      ],
    ],
    [
      "the same process after our restart",
      [
        [0, "asks", A1, "taken"],
        [20, "our restart"],
        [21, "asks", A1, "taken"],
        ...reporting(22, 60),
      ],
    ],
    [
      "a lower start after our restart, which waits for the one that held the node",
      [
        [0, "asks", A1, "taken"],
        [20, "our restart"],
        [21, "asks", FRESH_STATE, "wait"],
        [31, "asks", FRESH_STATE, "taken"],
        ...reporting(32, 90),
      ],
    ],
    [
      "restarts in a quick row that overlap for a few seconds",
      [
        [0, "asks", A1, "taken"],
        [1, "asks", A2, "taken"],
        [4, "asks", A1, "wait"],
        [6, "asks", A3, "taken"],
        [9, "asks", A2, "wait"],
        ...reporting(10, 60),
      ],
    ],
  ])("%s", (_what, steps) => {
    expect(play(steps).standing).toEqual({ kind: "clear" });
  });
});

describe("what is a duplicate", () => {
  it.each<[string, readonly Step[], readonly string[]]>([
    [
      "a copy in the same boot with the same count: both are heard over more than 10 s",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 5),
        [5, "asks", SAME_BOOT_COPY, "wait"],
        ...reporting(6, 14),
        [15, "asks", SAME_BOOT_COPY, "wait"],
        ...reporting(15, 16),
        [17, "asks", SAME_BOOT_COPY, "duplicate"],
        [18, "asks", A1, "duplicate"],
      ],
      ["A1", "C"],
    ],
    [
      "a copy that is found by the holder's report",
      [
        [0, "asks", A1, "taken"],
        [5, "asks", SAME_BOOT_COPY, "wait"],
        ...reporting(6, 15),
        [16, "asks", SAME_BOOT_COPY, "wait"],
        [17, "reports", "duplicate"],
      ],
      ["C", "A1"],
    ],
    [
      "a copy in another boot that raised its count: the first one comes back",
      [
        [0, "asks", A1, "taken"],
        ...reporting(1, 5),
        [6, "asks", OTHER_BOOT_COPY, "taken"],
        [6.2, "asks", A1, "wait"],
        ...reporting(7, 12),
        [10, "asks", A1, "wait"],
        [17, "asks", A1, "wait"],
        [18, "reports", "duplicate"],
        [19, "asks", OTHER_BOOT_COPY, "duplicate"],
        [20, "asks", A1, "duplicate"],
      ],
      ["A1", "D"],
    ],
    [
      "two that raise their count in turn",
      [
        [0, "asks", A1, "taken"],
        [20, "asks", OTHER_BOOT_COPY, "taken"],
        ...reporting(21, 30),
        [31, "asks", A3, "taken"],
        [33, "asks", OTHER_BOOT_COPY, "wait"],
        ...reporting(34, 40),
        [41.5, "asks", OTHER_BOOT_COPY, "wait"],
        [42, "reports", "duplicate"],
      ],
      ["D", "A3"],
    ],
    [
      "a copy, although we restart in between",
      [
        [0, "asks", A1, "taken"],
        [5, "asks", SAME_BOOT_COPY, "wait"],
        [8, "our restart"],
        [9, "asks", SAME_BOOT_COPY, "wait"],
        [10, "asks", A1, "taken"],
        ...reporting(11, 20),
        [21, "asks", SAME_BOOT_COPY, "duplicate"],
      ],
      ["A1", "C"],
    ],
    [
      "two that stay refused over our restart",
      [
        [0, "asks", A1, "taken"],
        [1, "asks", SAME_BOOT_COPY, "wait"],
        [12, "reports", "taken"],
        [13, "asks", SAME_BOOT_COPY, "duplicate"],
        [14, "our restart"],
        [2_000, "asks", A1, "duplicate"],
        [4_000, "asks", SAME_BOOT_COPY, "duplicate"],
      ],
      ["A1", "C"],
    ],
  ])("%s", (_what, steps, candidates) => {
    expect(play(steps).standing).toMatchObject({
      kind: "duplicate",
      candidates: candidates.map((instanceId) => ({ instanceId })),
    });
  });
});

it("remembers a bounded number of processes and candidates, whatever asks", () => {
  let state = play([
    [0, "asks", A1, "taken"],
    [1, "asks", SAME_BOOT_COPY, "wait"],
    [12, "reports", "taken"],
    [13, "asks", SAME_BOOT_COPY, "duplicate"],
  ]);
  for (let index = 0; index < 1_000; index += 1) {
    const asked = { agent: agent(`X${index}`, index), moment: moment(20 + index / 100) };
    state = agentAsks(state, asked, RULES).state;
  }
  expect(state.sightings).toHaveLength(8);
  expect(state.standing.kind === "duplicate" && state.standing.candidates).toHaveLength(8);
});
