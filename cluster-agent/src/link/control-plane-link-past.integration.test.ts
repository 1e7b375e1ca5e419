import { CommandSchema } from "@berth/proto";
import { type LogFields, type Logger, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, nodeClient, startAgent } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const SCRIPT = { storeId: "store-1", term: 5n, termId: "term-5", snapshotWanted: true };

async function controlPlane(script: Partial<FakeControlPlane["script"]> = {}) {
  const plane = new FakeControlPlane({ ...SCRIPT, ...script });
  await plane.start(cleanup);
  return plane;
}

/** An agent that may enrol at the fake control-plane. */
const linked = (
  plane: FakeControlPlane,
  dataDir: string,
  replacements: Parameters<typeof startAgent>[2] = {},
) =>
  startAgent(
    cleanup,
    { controlPlaneUrl: plane.url, enrolmentToken: LINK_TOKEN, dataDir },
    replacements,
  );

/** One start of the agent that is linked; gives what it has registered with. */
async function linkedStart(plane: FakeControlPlane, dataDir: string) {
  const agent = await linked(plane, dataDir);
  await until("the link is up", () => agent.link().state === "up");
  const status = agent.link();
  await agent.stop();
  const register = plane.registers.at(-1);
  if (register === undefined) throw new Error("nothing was registered");
  return { register, status };
}

describe("what the link tells of the agent's past", () => {
  it("is the starts since the last one that was answered", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    const { register: first } = await linkedStart(plane, dataDir);
    expect(first.formerInstanceIds).toEqual([]);
    plane.script = { ...SCRIPT, refusal: { reason: "UNAVAILABLE", message: "not now" } };
    const refused = await linked(plane, dataDir);
    await until("it was refused", () => refused.link().lastError !== undefined);
    await refused.stop();
    const second = plane.registers.at(-1);
    expect(second?.formerInstanceIds).toEqual([first.agentInstanceId]);
    plane.script = SCRIPT;
    const { register: third } = await linkedStart(plane, dataDir);
    expect(third.formerInstanceIds).toEqual([first.agentInstanceId, second?.agentInstanceId]);
    const { register: fourth } = await linkedStart(plane, dataDir);
    expect(fourth.formerInstanceIds).toEqual([third.agentInstanceId]);
  });

  it("is the name of the newest term that was obeyed, over restarts", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    expect((await linkedStart(plane, dataDir)).register.knownTermId).toBe("");
    plane.script = { ...SCRIPT, term: 6n, termId: "term-6" };
    expect((await linkedStart(plane, dataDir)).register.knownTermId).toBe("term-5");
    const { register } = await linkedStart(plane, dataDir);
    expect(register).toMatchObject({ knownControllerTerm: 6n, knownTermId: "term-6" });
  });
});

describe("names of a term that are told within it", () => {
  const echo = (commandId: string, fence: Partial<typeof FENCE>) =>
    create(CommandSchema, {
      commandId,
      fence: { ...FENCE, ...fence },
      timeoutMs: 10_000,
      order: { case: "echo", value: { text: "hi" } },
    });
  const FENCE = { storeId: "store-1", controllerTerm: 5n, termId: "term-5" };

  /** A linked agent; `restarted` stops it and gives what its next start registers with. */
  async function opened(script: Partial<FakeControlPlane["script"]> = {}) {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    await linkedStart(plane, dataDir);
    plane.script = { ...SCRIPT, ...script };
    const agent = await linked(plane, dataDir);
    await until("the commands are open", () => plane.commandSessions.length === 1);
    const restarted = async () => {
      await agent.stop();
      plane.script = SCRIPT;
      return (await linkedStart(plane, dataDir)).register;
    };
    return { plane, agent, restarted };
  }

  it("are kept, the newest one, and told at the next registration", async () => {
    const { plane, restarted } = await opened();
    plane.nameTerm("term-5-b");
    plane.order(echo("c1", { termId: "term-5-c" }));
    plane.nameTerm("term-5-d");
    plane.order(echo("c2", { termId: "term-5-d" }));
    await until("both orders are answered", () => plane.completions.length === 2);
    expect(plane.completions.map(({ outcome }) => outcome.case)).toEqual([
      "resultJson",
      "resultJson",
    ]);
    const register = await restarted();
    expect(register).toMatchObject({ knownControllerTerm: 5n, knownTermId: "term-5-d" });
  });

  it("are kept when they come with a registration", async () => {
    const { restarted } = await opened({ termId: "term-5-later" });
    expect((await restarted()).knownTermId).toBe("term-5-later");
  });

  it("are not kept with orders of other stores and terms", async () => {
    const { plane, restarted } = await opened();
    plane.order(echo("c1", { storeId: "store-2", termId: "x" }));
    plane.order(echo("c2", { controllerTerm: 4n, termId: "y" }));
    plane.order(echo("c3", { controllerTerm: 6n, termId: "z" }));
    await until("all are answered", () => plane.completions.length === 3);
    expect(await restarted()).toMatchObject({ knownControllerTerm: 5n, knownTermId: "term-5" });
  });

  it("are not kept while the agent only observes", async () => {
    const { plane, agent, restarted } = await opened({ observeReason: "not yours" });
    expect(agent.link().mode).toBe("observe");
    plane.nameTerm("term-5-b");
    plane.order(echo("c1", { termId: "term-5-b" }));
    await until("the order is refused", () => plane.completions.length === 1);
    expect((await restarted()).knownTermId).toBe("term-5");
  });
});

describe("a control-plane whose past is not the known one", () => {
  it("is only observed when it says so, and changes nothing of what is known", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    await linkedStart(plane, dataDir);
    const observeReason = "this store never gave the term that the agent knows";
    plane.script = { ...SCRIPT, term: 9n, termId: "term-9", observeReason };
    const { status } = await linkedStart(plane, dataDir);
    expect(status).toMatchObject({ mode: "observe", observes: observeReason, state: "up" });
    expect(status).toMatchObject({ controllerTerm: "5" });
    plane.script = SCRIPT;
    const { register, status: after } = await linkedStart(plane, dataDir);
    expect(register).toMatchObject({ knownControllerTerm: 5n, knownTermId: "term-5" });
    expect(after).toMatchObject({ mode: "obey" });
  });
});

describe("an agent that meets an unknown store and comes back", () => {
  const echo = (commandId: string, storeId: string) =>
    create(CommandSchema, {
      ...{ commandId, fence: { storeId, controllerTerm: 5n }, timeoutMs: 10_000 },
      order: { case: "echo", value: { text: "hi" } },
    });

  it("gives it no event and no result, and its own control-plane takes it for what it was", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane({ losesCompletions: 1_000_000, losesEvents: true });
    const first = await linked(plane, dataDir);
    await until("the commands are open", () => plane.commandSessions.length === 1);
    plane.order(echo("own", "store-1"));
    await until("the result is on its way", () => plane.completions.length > 0);
    await nodeClient(cleanup, first).register(registerRequest(), AUTHORIZED);
    await until("the event is on its way", () => plane.events.length === 1);
    await first.stop();
    const answered = plane.registers.at(-1)?.agentInstanceId;

    const unknown = await controlPlane({ storeId: "store-2" });
    const settings = { controlPlaneUrl: unknown.url, enrolmentToken: LINK_TOKEN, dataDir };
    const astray = await startAgent(cleanup, settings);
    await until("the commands are open", () => unknown.commandSessions.length === 1);
    expect(astray.link()).toMatchObject({ mode: "observe", state: "up" });
    unknown.order(echo("foreign", "store-2"));
    await until("the order is refused", () => unknown.completions.length > 0);
    const reports = unknown.reports.length;
    await until("the agent reports on", () => unknown.reports.length > reports + 10);
    expect(unknown.completions).toMatchObject([
      { commandId: "foreign", outcome: { value: { reason: "PRECONDITION_FAILED" } } },
    ]);
    expect(unknown.events).toEqual([]);
    await astray.stop();

    plane.script = SCRIPT;
    const seen = { events: plane.events.length, completions: plane.completions.length };
    await linked(plane, dataDir);
    await until("its event came", () => plane.events.length > seen.events);
    await until("its result came", () => plane.completions.length > seen.completions);
    expect(plane.registers.at(-1)?.formerInstanceIds).toContain(answered);
    expect(plane.events.at(-1)?.eventId).toBe(plane.events[0]?.eventId);
    expect(plane.completions.at(-1)).toMatchObject({
      commandId: "own",
      outcome: { case: "resultJson" },
    });
  });
});

describe("an agent that is refused because there are two of it", () => {
  it("goes on asking, shows why, logs each change once, and is linked when it is let in", async () => {
    const warnings: LogFields[] = [];
    const logger: Logger = {
      ...silentLogger,
      warn: (message, fields = {}) => {
        if (message.startsWith("not linked")) warnings.push(fields);
      },
    };
    const plane = await controlPlane();
    const wait = { reason: "UNAVAILABLE", message: "another agent may still be there" } as const;
    const both = { reason: "ALREADY_EXISTS", message: "two agents run; pick one" } as const;
    plane.script = { ...SCRIPT, refusal: wait };
    const agent = await linked(plane, await cleanup.directory(), { logger });
    await until("it has asked again", () => plane.registers.length >= 3);
    plane.script = { ...SCRIPT, refusal: both };
    const { length } = plane.registers;
    await until("it has asked again", () => plane.registers.length >= length + 2, 30_000);
    await until("the refusal shows", () => {
      return agent.link().lastError === `${both.reason}: ${both.message}`;
    });
    const headers = { host: "localhost" };
    const ready = await agent.http.inject({ method: "GET", url: "/readyz", headers });
    expect(ready.json()).toMatchObject({
      success: true,
      link: { state: "down", lastError: `${both.reason}: ${both.message}` },
    });
    plane.script = SCRIPT;
    await until("it is let in", () => agent.link().state === "up", 30_000);
    expect(warnings.map(({ why }) => why)).toEqual([
      `${wait.reason}: ${wait.message}`,
      `${both.reason}: ${both.message}`,
    ]);
  });
});
