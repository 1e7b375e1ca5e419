import { describe, expect, it } from "vitest";
import {
  A1,
  A2,
  agent,
  OTHER_BOOT_COPY,
  opened,
  play,
  REBOOTED,
  reporting,
  SAME_BOOT_COPY,
} from "../testing/duplicate-scenario.ts";
import { operatorPicks } from "./judge-duplicates.ts";

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
