import { setTimeout as wait } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { OTHER_INSTANCE, type RegisterInit, type TestAgent } from "../../testing/agents.ts";
import { hasCode, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const LONG = { timeoutMs: 60_000 };
/** Longer than an offer takes to arrive on this machine. */
const QUIET_MS = 200;

const link = useLinkServer();

const echo = (text: string) => ({ kind: "echo", text, holdMs: 0 }) as const;
type Known = Required<Pick<RegisterInit, "knownStoreId" | "knownControllerTerm" | "knownTermId">>;
type Fence = { storeId: string; controllerTerm: bigint; termId: string } | undefined;

const knownOf = (fence: Fence): Known => ({
  knownStoreId: fence?.storeId ?? "",
  knownControllerTerm: fence?.controllerTerm ?? 0n,
  knownTermId: fence?.termId ?? "",
});

/** The next start of the agent, on state that knows so much. */
const laterStart = (known: Known, over: RegisterInit = {}): RegisterInit => ({
  ...{ agentIncarnation: 2n, agentInstanceId: OTHER_INSTANCE },
  ...{ formerInstanceIds: ["00000000-0000-4000-8000-000000000001"], ...known, ...over },
});

/** Registers and takes the given number of orders; gives what the agent knew before, and with each of them. */
async function taking(agent: TestAgent, orders: readonly string[], over: RegisterInit = {}) {
  const { sessionId, fence, snapshotWanted } = await agent.register(over);
  const before = knownOf(fence);
  const stream = agent.commands(sessionId);
  const sent = orders.map((text) => link.server.commands.send("c1", echo(text), LONG));
  const taken = [];
  while (taken.length < orders.length) {
    const { value } = await stream.next();
    if (value?.command === undefined) continue;
    const { commandId, fence: at, order } = value.command;
    taken.push({ commandId, text: order.value?.text, known: knownOf(at) });
  }
  return { sessionId, before, sent, taken, stream, snapshotWanted };
}

/** What an agent is offered until nothing comes any more. */
async function offeredTo(agent: TestAgent, sessionId: string): Promise<string[]> {
  const stream = agent.commands(sessionId);
  const ids: string[] = [];
  for (;;) {
    const next = await Promise.race([stream.next(), wait(QUIET_MS)]);
    if (next === undefined || next.done === true) return ids;
    if (next.value.command !== undefined) ids.push(next.value.command.commandId);
  }
}

const stateOf = async (id = "") => (await link.server.commands.get(id)).state;

describe("an agent that comes back on a copy of its running state", () => {
  it("is not given what it took after the copy was made: nobody knows what became of that", async () => {
    const first = link.newAgent();
    const { before, sent, taken } = await taking(first, ["x"]);
    first.close();
    const copy = link.newAgent();
    const registered = await untilTaken(copy, laterStart(before));
    expect(await sent[0]).toMatchObject({ kind: "refused", reason: "CONFLICT" });
    expect(await offeredTo(copy, registered.sessionId)).toEqual([]);
    expect(await stateOf(taken[0]?.commandId)).toBe("refused");
    await vi.waitFor(async () => expect(await link.eventKinds()).toContain("agent_restored"));
    expect(registered.snapshotWanted).toBe(true);
  });

  it("is found over our own restart too, and stays so when the first one asks again", async () => {
    const first = link.newAgent();
    const { before, taken } = await taking(first, ["x"]);
    await link.restart();
    const copy = link.newAgent();
    const { sessionId } = await untilTaken(copy, laterStart(before));
    expect(await offeredTo(copy, sessionId)).toEqual([]);
    const { commandId = "", known } = taken[0] ?? {};
    expect(await stateOf(commandId)).toBe("refused");
    const former = link.newAgent();
    await expect(former.register(known)).rejects.toSatisfy(hasCode(Code.Unavailable));
    expect(await stateOf(commandId)).toBe("refused");
  });

  it("is found when the first one stands still with open streams, as soon as they are given up", async () => {
    const first = link.newAgent();
    const { before, sent, taken, sessionId } = await taking(first, ["x"]);
    const copy = link.newAgent();
    await expect(copy.register(laterStart(before))).rejects.toSatisfy(hasCode(Code.Unavailable));
    expect(await stateOf(taken[0]?.commandId)).toBe("pending");
    link.server.nowMs = 20_001;
    link.server.sessions.expire();
    const registered = await copy.register(laterStart(before));
    expect(await sent[0]).toMatchObject({ kind: "refused", reason: "CONFLICT" });
    expect(await offeredTo(copy, registered.sessionId)).toEqual([]);
    const late = first.complete(sessionId, taken[0]?.commandId ?? "");
    await expect(late).rejects.toSatisfy(hasCode(Code.Aborted));
  });

  it("is given again what its state knows of, under the same id, and what nobody was offered", async () => {
    const first = link.newAgent();
    const { taken } = await taking(first, ["x", "y", "z"]);
    first.close();
    await vi.waitFor(() => expect(link.server.sessions.status(ORG)[0]?.connected).toBe(false));
    void link.server.commands.send("c1", echo("new"), LONG);
    await vi.waitFor(async () =>
      expect(await link.server.commands.list({ limit: 9 })).toHaveLength(4),
    );
    const known = taken[1]?.known;
    if (known === undefined) throw new Error("expected three orders");
    const copy = link.newAgent();
    const { sessionId } = await untilTaken(copy, laterStart(known));
    const offered = await offeredTo(copy, sessionId);
    const [newest] = await link.server.commands.list({ limit: 1 });
    // Given at the same moment, the three have stretches of their own all the same.
    expect(offered).toEqual([taken[0]?.commandId, taken[1]?.commandId, newest?.commandId]);
    expect(await stateOf(taken[2]?.commandId)).toBe("refused");
  });

  it("is no copy when it knows the newest order: all is offered again, nothing told", async () => {
    const first = link.newAgent();
    const { taken } = await taking(first, ["x", "y"]);
    first.close();
    const next = link.newAgent();
    const known = taken[1]?.known;
    if (known === undefined) throw new Error("expected two orders");
    const { sessionId } = await untilTaken(next, laterStart(known));
    expect(await offeredTo(next, sessionId)).toEqual(taken.map(({ commandId }) => commandId));
    expect(await link.eventKinds()).not.toContain("agent_restored");
  });

  it("is no copy when the same process registers again, though the order was lost on its way", async () => {
    const first = link.newAgent();
    const { before, taken } = await taking(first, ["x"]);
    const { sessionId } = await first.register(before);
    expect(await offeredTo(first, sessionId)).toEqual([taken[0]?.commandId]);
  });

  it("is not let in while the refusal of its orders cannot be written, and is found once it can", async () => {
    const first = link.newAgent();
    const { before, taken } = await taking(first, ["x"]);
    first.close();
    await vi.waitFor(() => expect(link.server.sessions.status(ORG)[0]?.connected).toBe(false));
    link.server.nowMs = 20_001;
    link.server.sessions.expire();
    link.server.diskFailure = "no space";
    const copy = link.newAgent();
    await expect(copy.register(laterStart(before))).rejects.toThrow("no space");
    link.server.diskFailure = undefined;
    const { sessionId } = await copy.register(laterStart(before));
    expect(await offeredTo(copy, sessionId)).toEqual([]);
    expect(await stateOf(taken[0]?.commandId)).toBe("refused");
    await vi.waitFor(async () => expect(await link.eventKinds()).toContain("agent_restored"));
  });

  it("gets no order that cannot be marked as offered, and gets it once it can", async () => {
    const agent = link.newAgent();
    const { sessionId } = await agent.register();
    void link.server.commands.send("c1", echo("x"), LONG);
    await vi.waitFor(async () =>
      expect(await link.server.commands.list({ limit: 9 })).toHaveLength(1),
    );
    link.server.diskFailure = "no space";
    const stream = agent.commands(sessionId);
    const first = stream.next();
    expect(await Promise.race([first, wait(QUIET_MS)])).toBeUndefined();
    link.server.diskFailure = undefined;
    expect((await first).value?.command?.order.value).toMatchObject({ text: "x" });
  });
});

/** Registers once the streams of the process before are closed: until then it may still be there. */
async function untilTaken(agent: TestAgent, init: RegisterInit) {
  return await vi.waitFor(() => agent.register(init), { timeout: 5_000 });
}
