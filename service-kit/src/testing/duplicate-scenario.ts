import { expect } from "vitest";
import {
  agentAsks,
  type DuplicateRules,
  type DuplicateState,
  type DuplicateVerdict,
  holderReports,
  openDuplicateState,
} from "../duplicates/judge-duplicates.ts";
import type { AgentInstance } from "../duplicates/sightings.ts";

/** Rules of the scenarios: 10 s each. */
export const RULES: DuplicateRules = { liveMs: 10_000, overlapMs: 10_000 };

/** An agent process. */
export const agent = (
  instanceId: string,
  incarnation: number,
  bootId = "boot-1",
): AgentInstance => ({
  instanceId,
  incarnation,
  bootId,
});

/** A process that tells of the starts of its state directory before it. */
export interface Starting extends AgentInstance {
  /** Instance ids, oldest first. */
  readonly formerIds?: readonly string[];
}

/** An agent process that tells of the starts before it. */
export const startedAfter = (formerIds: readonly string[], instance: AgentInstance): Starting => ({
  ...instance,
  formerIds,
});

/** The first process of an agent. */
export const A1 = agent("A1", 5);
/** Its next start. */
export const A2 = agent("A2", 6);
/** The start after that. */
export const A3 = agent("A3", 7);
/** Its start after a reboot of its machine. */
export const REBOOTED = agent("R", 6, "boot-2");
/** A start on a state directory that was made anew. */
export const FRESH_STATE = agent("F", 1);
/** A process on a copy of the first one's state directory, on the same machine. */
export const SAME_BOOT_COPY = agent("C", 5);
/** The next start of such a copy on another machine. */
export const OTHER_BOOT_COPY = agent("D", 6, "boot-9");

/** What happens at a time, and the verdict that it must get. */
export type Step =
  | readonly [
      atSeconds: number,
      /** Whether a connection of the holder is open and answers pings at that time. */
      what: "asks" | "asks beside the holder",
      Starting,
      DuplicateVerdict,
    ]
  | readonly [atSeconds: number, "reports", DuplicateVerdict]
  | readonly [atSeconds: number, "our restart"];

/** A subject that nobody has spoken for. */
export const opened = () => openDuplicateState({ kind: "clear" }, undefined, 0);

/** A time of a scenario. */
export const moment = (atSeconds: number) => ({
  nowMs: atSeconds * 1_000,
  at: `second ${atSeconds}`,
});

/** Plays the steps and checks each verdict; gives the state at the end. */
export function play(steps: readonly Step[], begun: DuplicateState = opened()): DuplicateState {
  let state = begun;
  let holder: AgentInstance | undefined;
  for (const step of steps) {
    if (step[1] === "our restart") {
      state = openDuplicateState(state.standing, holder, step[0] * 1_000);
      continue;
    }
    const now = moment(step[0]);
    if (step[1] === "reports") {
      const result = holderReports(state, now, RULES);
      expect(`${step[0]} s: ${result.verdict}`).toBe(`${step[0]} s: ${step[2]}`);
      state = result.state;
      continue;
    }
    const [atSeconds, what, { formerIds, ...asking }, wanted] = step;
    const isHolderPresent = what === "asks beside the holder";
    const asked = { agent: asking, formerIds, moment: now, isHolderPresent };
    const result = agentAsks(state, asked, RULES);
    expect(`${atSeconds} s: ${result.verdict}`).toBe(`${atSeconds} s: ${wanted}`);
    if (result.verdict === "taken") holder = asking;
    state = result.state;
  }
  return state;
}

/** Reports of the holder, one a second, all taken. */
export const reporting = (from: number, to: number): Step[] =>
  Array.from({ length: to - from + 1 }, (_, index) => [from + index, "reports", "taken"]);
