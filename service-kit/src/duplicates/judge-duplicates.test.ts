import { describe, expect, it } from "vitest";
import {
  agentAsks,
  type DuplicateRules,
  type DuplicateState,
  type DuplicateVerdict,
  holderReports,
  openDuplicateState,
  operatorPicks,
} from "./judge-duplicates.ts";
import type { AgentInstance } from "./sightings.ts";

const RULES: DuplicateRules = { liveMs: 10_000, overlapMs: 10_000 };

const agent = (instanceId: string, incarnation: number, bootId = "boot-1"): AgentInstance => ({
  instanceId,
  incarnation,
  bootId,
});

/** The agent processes of the scenarios. */
const A1 = agent("A1", 5);
const A2 = agent("A2", 6);
const A3 = agent("A3", 7);
const REBOOTED = agent("R", 6, "boot-2");
const FRESH_STATE = agent("F", 1);
const SAME_BOOT_COPY = agent("C", 5);
const OTHER_BOOT_COPY = agent("D", 6, "boot-9");

type Step =
  | readonly [atSeconds: number, "asks", AgentInstance, DuplicateVerdict]
  | readonly [atSeconds: number, "reports", DuplicateVerdict]
  | readonly [atSeconds: number, "our restart"];

const opened = () => openDuplicateState({ kind: "clear" }, undefined, 0);

const moment = (atSeconds: number) => ({ nowMs: atSeconds * 1_000, at: `second ${atSeconds}` });

/** Plays the steps and checks each verdict; gives the state at the end. */
function play(steps: readonly Step[], begun: DuplicateState = opened()): DuplicateState {
  let state = begun;
  let holder: AgentInstance | undefined;
  for (const step of steps) {
    if (step[1] === "our restart") {
      state = openDuplicateState(state.standing, holder, step[0] * 1_000);
      continue;
    }
    const now = moment(step[0]);
    const result =
      step[1] === "asks"
        ? agentAsks(state, { agent: step[2], moment: now }, RULES)
        : holderReports(state, now, RULES);
    const wanted = step[1] === "asks" ? step[3] : step[2];
    expect(`${step[0]} s: ${result.verdict}`).toBe(`${step[0]} s: ${wanted}`);
    if (step[1] === "asks" && result.verdict === "taken") holder = step[2];
    state = result.state;
  }
  return state;
}

/** Reports of the holder, one a second, all taken. */
const reporting = (from: number, to: number): Step[] =>
  Array.from({ length: to - from + 1 }, (_, index) => [from + index, "reports", "taken"]);

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

describe("an operator's pick", () => {
  const found = () =>
    play([
      [0, "asks", A1, "taken"],
      [1, "asks", OTHER_BOOT_COPY, "taken"],
      [12, "reports", "taken"],
      [13, "asks", A1, "duplicate"],
    ]);
  const picked = () => operatorPicks(found(), { bootId: "boot-1" }, "now");

  it("lets the picked one in and keeps the other refused, over its agent's restarts and ours", () => {
    const again = agent("D2", 9, "boot-9");
    play(
      [
        [20, "asks", OTHER_BOOT_COPY, "refused"],
        [21, "asks", A1, "taken"],
        ...reporting(22, 40),
        [41, "asks", again, "refused"],
        [42, "our restart"],
        [43, "asks", OTHER_BOOT_COPY, "refused"],
        [44, "asks", A1, "taken"],
      ],
      picked(),
    );
  });

  it("takes a restart of the picked one in, when the one before is silent", () => {
    play(
      [
        [20, "asks", A1, "taken"],
        ...reporting(21, 30),
        [31, "asks", A2, "wait"],
        [41, "asks", A2, "taken"],
        ...reporting(42, 60),
        [100, "asks", REBOOTED, "taken"],
        ...reporting(101, 130),
      ],
      picked(),
    );
  });

  it("refuses the copy for good when it comes back after a reboot beside the picked one", () => {
    const rebootedCopy = agent("D3", 99, "boot-10");
    const after = play(
      [
        [20, "asks", A1, "taken"],
        ...reporting(21, 30),
        [31, "asks", rebootedCopy, "wait"],
        ...reporting(32, 41),
        [42, "asks", rebootedCopy, "wait"],
        ...reporting(43, 50),
        [51, "asks", rebootedCopy, "refused"],
        [52, "asks", A1, "taken"],
      ],
      picked(),
    );
    play([[60, "asks", agent("D4", 100, "boot-10"), "refused"]], after);
  });

  it("refuses both again when the copy got in while the picked one was away", () => {
    const rebootedCopy = agent("D3", 99, "boot-10");
    const { standing } = play(
      [
        [20, "asks", A1, "taken"],
        ...reporting(21, 30),
        [50, "asks", rebootedCopy, "taken"],
        ...reporting(51, 70),
        [71, "asks", A1, "duplicate"],
      ],
      picked(),
    );
    expect(standing).toMatchObject({ kind: "duplicate" });
    expect(standing.kind === "duplicate" && standing.candidates).toHaveLength(3);
  });

  it("refuses a copy that the holder finds when its own link flaps", () => {
    const rebootedCopy = agent("D3", 99, "boot-10");
    play(
      [
        [20, "asks", A1, "taken"],
        [21, "asks", rebootedCopy, "wait"],
        ...reporting(22, 31),
        [31.5, "asks", rebootedCopy, "wait"],
        [33, "asks", A1, "taken"],
        [34, "asks", rebootedCopy, "refused"],
      ],
      picked(),
    );
  });

  it("tells two in one boot apart by instance, and refuses only that one", () => {
    const both = play([
      [0, "asks", A1, "taken"],
      [1, "asks", SAME_BOOT_COPY, "wait"],
      [12, "reports", "taken"],
      [13, "asks", SAME_BOOT_COPY, "duplicate"],
    ]);
    expect(() => operatorPicks(both, { bootId: "boot-1" }, "now")).toThrow("agent_instance_id");
    const after = operatorPicks(both, { instanceId: "C" }, "now");
    play(
      [
        [20, "asks", A1, "refused"],
        [21, "asks", SAME_BOOT_COPY, "taken"],
        ...reporting(22, 30),
        [60, "asks", agent("C2", 6), "taken"],
      ],
      after,
    );
  });

  it("can be changed", () => {
    const changed = operatorPicks(picked(), { instanceId: "D" }, "later");
    play(
      [
        [20, "asks", A1, "refused"],
        [21, "asks", OTHER_BOOT_COPY, "taken"],
      ],
      changed,
    );
  });

  it.each([
    ["nothing", {}, "exactly one"],
    ["both", { bootId: "boot-1", instanceId: "A1" }, "exactly one"],
    ["an unknown boot", { bootId: "boot-7" }, 'boot_id: expected one of "boot-9", "boot-1"'],
    ["an unknown process", { instanceId: "Z" }, 'agent_instance_id: expected one of "D", "A1"'],
  ])("is refused when it names %s", (_what, request, message) => {
    expect(() => operatorPicks(found(), request, "now")).toThrow(message);
  });

  it("needs duplicates", () => {
    expect(() => operatorPicks(opened(), { bootId: "b" }, "now")).toThrow("no duplicates");
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
