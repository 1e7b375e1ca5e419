import { describe, expect, it } from "vitest";
import { RefusalClock, readRefusal, refusalLines } from "./link-refusal.ts";
import { upSettings } from "./options.ts";

const BOUND = "cluster_id: local is bound to another cluster; choose another id";
const bound = { reason: "ALREADY_EXISTS", message: BOUND };

describe("readRefusal", () => {
  const readyz = (state: string, lastError?: string) => ({
    success: true,
    link: { state, lastError },
  });

  it("finds why the control-plane does not take the agent in", () => {
    expect(readRefusal(readyz("down", `ALREADY_EXISTS: ${BOUND}`))).toEqual(bound);
    expect(readRefusal(readyz("down", "UNAUTHENTICATED: a\nb"))).toEqual({
      reason: "UNAUTHENTICATED",
      message: "a\nb",
    });
  });

  it.each([
    ["a link that is up", readyz("up", `ALREADY_EXISTS: ${BOUND}`)],
    ["a link that was never tried", readyz("down")],
    ["a control-plane that is not there", readyz("down", "UNAVAILABLE: connect ECONNREFUSED")],
    ["another program", { link: "down" }],
    ["nothing", undefined],
  ])("finds none in %s", (_name, body) => {
    expect(readRefusal(body)).toBeUndefined();
  });
});

describe("refusalLines", () => {
  const settings = upSettings({ dataDir: "/d", clusterId: "c" }, {}, "/");

  it("names the file and the command that help an agent whose store was lost", () => {
    expect(refusalLines(bound, settings)).toEqual([
      `the control-plane refuses the cluster-agent (ALREADY_EXISTS): ${BOUND}`,
      expect.stringContaining("/d/cluster-agent/cluster.db"),
      expect.stringContaining("in another terminal"),
      "    npx berth delete cluster c --force",
    ]);
    const moved = upSettings({ dataDir: "/d", httpPort: "81" }, {}, "/");
    expect(refusalLines(bound, moved).at(-1)).toBe(
      "    npx berth delete cluster local --force --server http://127.0.0.1:81",
    );
  });

  it("leaves other refusals to their own words", () => {
    const duplicate = { reason: "ALREADY_EXISTS", message: "two agents run as cluster c" };
    expect(refusalLines(duplicate, settings)).toEqual([
      "the control-plane refuses the cluster-agent (ALREADY_EXISTS): two agents run as cluster c",
    ]);
  });
});

describe("RefusalClock", () => {
  it("tells each refusal once, and that they have lasted too long", () => {
    const clock = new RefusalClock(100);
    const denied = { reason: "PERMISSION_DENIED", message: "m" };
    expect(clock.see(undefined, 0)).toEqual({ isNew: false, isOver: false });
    expect(clock.see(bound, 50)).toEqual({ isNew: true, isOver: false });
    expect(clock.see({ ...bound }, 100)).toEqual({ isNew: false, isOver: false });
    expect(clock.see(denied, 149)).toEqual({ isNew: true, isOver: false });
    expect(clock.see(denied, 150)).toEqual({ isNew: false, isOver: true });
  });

  it("starts anew after a look without a refusal", () => {
    const clock = new RefusalClock(100);
    clock.see(bound, 0);
    clock.see(undefined, 90);
    expect(clock.see(bound, 110)).toEqual({ isNew: true, isOver: false });
    expect(clock.see(bound, 209)).toEqual({ isNew: false, isOver: false });
  });
});
