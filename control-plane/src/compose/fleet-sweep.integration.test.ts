import { once } from "node:events";
import http2 from "node:http2";
import { setTimeout as wait } from "node:timers/promises";
import { newSecret } from "@berth/service-kit";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type ComposedFleet, useComposedFleets } from "../testing/composed-fleet.ts";

const ORG = "default_org";
const POLL_MS = 10;
const POLL_LIMIT_MS = 10_000;

const open = useComposedFleets();

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Waits on the machine's own timers: those of the programs stand still here. */
async function until(holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += POLL_MS) {
    if (waitedMs > POLL_LIMIT_MS) throw new Error("waited too long");
    await wait(POLL_MS);
  }
}

/** Lets the process be kept from its work for a time: the clock goes on, its timers and sockets do not. */
function aClock() {
  const now = performance.now.bind(performance);
  let stoodStillMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now() + stoodStillMs);
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  return {
    standStill: (ms: number) => {
      stoodStillMs += ms;
    },
    /** The next look for silent agents. */
    look: () => vi.advanceTimersByTime(1_000),
  };
}

/** An agent that is enrolled, with a key of its own. */
async function enrolled(composed: ComposedFleet, key = newSecret()) {
  const { token } = await composed.fleet.enrolment.createToken({});
  const agent = composed.newAgent("c1", key);
  await agent.enrol(token);
  return { ...agent, key };
}

const health = ({ fleet }: ComposedFleet) => fleet.agents.sessions.views(ORG)[0]?.health;
const heardMsAgo = ({ fleet }: ComposedFleet) =>
  fleet.agents.sessions.status(ORG)[0]?.heardMsAgo ?? Number.POSITIVE_INFINITY;

describe("a control-plane that was kept from hearing its agents", () => {
  it("holds what waits to be read against nobody, and silence after that as ever", async () => {
    const clock = aClock();
    const composed = await open();
    const { agent } = await enrolled(composed);
    const state = await agent.join();
    const report = agent.report(state.sessionId);
    clock.look();
    expect(health(composed)).toBe("live");
    clock.standStill(22_000);
    clock.look();
    expect(health(composed)).toBe("live");
    report.send();
    await until(() => heardMsAgo(composed) < 5_000);
    clock.look();
    expect(health(composed)).toBe("live");
    for (let silentMs = 0; silentMs < 12_000; silentMs += 2_000) {
      clock.standStill(2_000);
      clock.look();
    }
    expect(health(composed)).toBe("unreachable");
  });
});

describe("a single message to the real agent port that never ends", () => {
  it("is cut off after 10 s, though its caller is known", { timeout: 40_000 }, async () => {
    const composed = await open();
    const { key } = await enrolled(composed);
    const client = http2.connect(composed.url);
    client.on("error", () => undefined);
    const slow = client.request({
      ...{ ":method": "POST", ":path": "/berth.agent.v1.AgentService/Register" },
      ...{ "content-type": "application/proto", authorization: `Bearer ${key}` },
    });
    slow.on("error", () => slow.destroy());
    const begunAtMs = performance.now();
    const trickle = setInterval(() => slow.write("x"), 500);
    await once(slow, "close");
    clearInterval(trickle);
    expect(performance.now() - begunAtMs).toBeLessThan(20_000);
    expect(slow.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    client.destroy();
  });
});
