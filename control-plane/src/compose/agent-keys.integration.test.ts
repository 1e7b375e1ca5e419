import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { formatToken, newSecret } from "@berth/service-kit";
import { Code } from "@connectrpc/connect";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { INSTANCE, OTHER_INSTANCE, type RegisterInit } from "../testing/agents.ts";
import {
  type ComposedFleet,
  type KeyedAgent,
  useComposedFleets,
} from "../testing/composed-fleet.ts";
import { hasCode } from "../testing/link-fixture.ts";

const ORG = "default_org";
const LOCAL = formatToken({ secret: newSecret() });
const SLOW = { timeout: 15_000, interval: 200 };
/** What a process registers with that runs on a copy of the first agent's state. */
const COPIED: RegisterInit = { agentIncarnation: 2n, agentInstanceId: OTHER_INSTANCE };

const open = useComposedFleets();

const refusals = ({ fleet }: ComposedFleet) =>
  fleet.events.list({ kind: "agent_refused", limit: 9 });

/** The first agent with a token that several may use, connected. */
async function connected(composed: ComposedFleet, token: string): Promise<KeyedAgent> {
  const first = composed.newAgent();
  await first.enrol(token);
  const state = await first.agent.join();
  state.answer().catch(() => undefined);
  return first;
}

async function aToken(composed: ComposedFleet, maxUses: number, subjectId?: string) {
  const asked = { maxUses, ...(subjectId === undefined ? {} : { subjectId }) };
  return (await composed.fleet.enrolment.createToken(asked)).token;
}

describe("a second process with a copy of the state of a connected agent, and another key", () => {
  it.each([
    ["a token for several", (composed: ComposedFleet) => aToken(composed, 2)],
    ["the local token", async () => LOCAL],
  ])("does not end the first one's key with %s, and is told as an event", async (_name, give) => {
    const composed = await open({ BERTH_LOCAL_TOKEN: LOCAL });
    const token = await give(composed);
    const first = await connected(composed, token);
    const copy = composed.newAgent();
    for (let asked = 0; asked < 3; asked += 1) {
      await expect(copy.enrol(token)).rejects.toSatisfy(hasCode(Code.Unavailable));
    }
    await expect(copy.agent.register(COPIED)).rejects.toThrow("not enrolled");
    expect(composed.fleet.agents.sessions.status(ORG)).toMatchObject([{ connected: true }]);
    await expect(first.agent.register()).resolves.toBeDefined();
    await vi.waitFor(async () => expect(await refusals(composed)).toHaveLength(1));
    expect(await composed.eventKinds()).not.toContain("agent_lost");
  });

  it("takes its place at once with a token that was made for the very id", async () => {
    const composed = await open();
    await connected(composed, await aToken(composed, 2));
    const next = composed.newAgent();
    await next.enrol(await aToken(composed, 1, "c1"));
    expect(composed.fleet.agents.sessions.status(ORG)).toEqual([]);
    await vi.waitFor(() => next.agent.register(COPIED), SLOW);
    expect(await refusals(composed)).toEqual([]);
  });

  it("gets none while the first one may come back by itself, which it then does", async () => {
    const composed = await open();
    const token = await aToken(composed, 2);
    const first = await connected(composed, token);
    first.agent.close();
    const next = composed.newAgent();
    const cutAt = performance.now();
    const goesOnAsking = async () => {
      while (performance.now() - cutAt < 4_000) {
        await expect(next.enrol(token)).rejects.toThrow(/may still be there until \d{4}-/);
        await setTimeout(250);
      }
    };
    await goesOnAsking();
    const back = composed.newAgent("c1", first.key);
    await expect(back.agent.register()).resolves.toBeDefined();
  });

  it("gets none right after the first one got its own, but that one may ask again", async () => {
    const composed = await open();
    const token = await aToken(composed, 2);
    const first = composed.newAgent();
    await first.enrol(token);
    await expect(composed.newAgent().enrol(token)).rejects.toThrow("may still be there");
    await first.enrol(token);
    await expect(first.agent.register()).resolves.toBeDefined();
  });

  it("gets none once an operator has picked the first one, unless by a token for the very id", async () => {
    const composed = await open();
    const token = await aToken(composed, 4);
    const first = composed.newAgent();
    await first.enrol(token);
    const state = await first.agent.join();
    const reports = first.agent.report(state.sessionId);
    const beat = setInterval(() => reports.send([]), 500);
    onTestFinished(() => clearInterval(beat));
    const copy = composed.newAgent("c1", first.key);
    await vi.waitFor(
      () => expect(copy.agent.register(COPIED)).rejects.toThrow("two agents run as cluster"),
      SLOW,
    );
    const { agents } = composed.fleet;
    const wiped = composed.newAgent();
    await expect(wiped.enrol(token)).rejects.toSatisfy(hasCode(Code.PermissionDenied));
    await agents.pick(ORG, "c1", INSTANCE);
    await expect(wiped.enrol(token)).rejects.toSatisfy(hasCode(Code.PermissionDenied));
    await expect(first.agent.register()).resolves.toBeDefined();
    await wiped.enrol(await aToken(composed, 1, "c1"));
    await expect(first.agent.register()).rejects.toThrow("not enrolled");
    // Nobody else has the key any more, so there is nothing left to decide.
    await expect(
      wiped.agent.register({ ...COPIED, agentInstanceId: randomUUID() }),
    ).resolves.toBeDefined();
    expect(await agents.duplicates(ORG, "c1")).toMatchObject({ state: "clear" });
  }, 30_000);
});

describe("another cluster that enrols under a bound id", () => {
  it("is refused, and told as one event however often it asks", async () => {
    const composed = await open();
    const token = await aToken(composed, 0);
    await connected(composed, token);
    const other = composed.newAgent();
    for (let asked = 0; asked < 3; asked += 1) {
      const call = other.enrol(token, "process:another:one");
      await expect(call).rejects.toSatisfy(hasCode(Code.AlreadyExists));
    }
    await vi.waitFor(async () => expect(await refusals(composed)).toHaveLength(1));
    const [event] = await refusals(composed);
    expect(event).toMatchObject({ clusterId: "c1" });
    expect(event?.factsJson).toContain("bound to another cluster");
  });
});

describe("an agent whose key is not known", () => {
  it("is shown and told when it goes on asking, a new one that enrols at once is not", async () => {
    const composed = await open();
    const { fleet } = composed;
    const news = composed.newAgent("new");
    await expect(news.agent.register()).rejects.toThrow("not enrolled");
    await news.enrol(await aToken(composed, 1));
    const lost = composed.newAgent("lost");
    await vi.waitFor(async () => {
      await expect(lost.agent.register()).rejects.toSatisfy(hasCode(Code.Unauthenticated));
      expect(fleet.adoption.status(ORG).unknown).toMatchObject([{ clusterId: "lost" }]);
    }, SLOW);
    await vi.waitFor(async () => {
      expect(await composed.eventKinds("lost")).toEqual(["unknown_key"]);
    });
    expect(await composed.eventKinds("new")).toEqual([]);
    await lost.enrol(await aToken(composed, 1));
    await lost.agent.register();
    expect(fleet.adoption.status(ORG).unknown).toEqual([]);
  });

  it("has nothing read of it but a registration, and no other call", async () => {
    const composed = await open();
    const { agent } = composed.newAgent();
    const long = { knownStoreId: "x".repeat(100_000) };
    await expect(agent.register(long)).rejects.toSatisfy(hasCode(Code.ResourceExhausted));
    await expect(agent.complete("s", "c")).rejects.toSatisfy(hasCode(Code.Unauthenticated));
    await expect(agent.commands("s").next()).rejects.toSatisfy(hasCode(Code.Unauthenticated));
    const nobody = composed.newAgent("c1", "no key");
    await expect(nobody.agent.register()).rejects.toSatisfy(hasCode(Code.Unauthenticated));
    expect(composed.fleet.agents.unknown.list()).toEqual([]);
  });

  it("obeys a control-plane that has lost its store after a new token for its id and an adoption", async () => {
    const before = await open();
    const key = newSecret();
    const agent = before.newAgent("c1", key);
    await agent.enrol(await aToken(before, 1));
    const { fence } = await agent.agent.register();
    const known = {
      knownStoreId: fence?.storeId ?? "",
      knownControllerTerm: fence?.controllerTerm ?? 0n,
      knownTermId: fence?.termId ?? "",
    };
    await before.close();
    const after = await open();
    const { fleet } = after;
    const same = after.newAgent("c1", key);
    await vi.waitFor(async () => {
      await expect(same.agent.register(known)).rejects.toThrow("not enrolled");
      expect(fleet.adoption.status(ORG).unknown).toHaveLength(1);
    }, SLOW);
    await same.enrol(await aToken(after, 1, "c1"));
    const observed = await same.agent.open(known);
    observed.send();
    expect(fleet.adoption.status(ORG).agents).toMatchObject([{ mode: "observe" }]);
    const adopted = await fleet.adoption.adopt(ORG, {
      storeIds: [known.knownStoreId],
      dryRun: false,
    });
    expect(adopted.agents.map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    const registered = await same.agent.register(known);
    expect(registered).toMatchObject({
      observeReason: "",
      adoptedStoreIds: [known.knownStoreId],
    });
    expect(fleet.adoption.status(ORG).agents).toMatchObject([{ mode: "obey" }]);
  });
});
