import { CommandSchema } from "@berth/proto";
import { type LogFields, type Logger, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup, startAgent } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { until } from "../testing/fixtures.ts";

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

describe("a control-plane whose past is not the known one", () => {
  it("is only observed when its term of the known number is another one", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    await linkedStart(plane, dataDir);
    plane.script = { ...SCRIPT, termId: "term-5-of-a-copy" };
    const agent = await linked(plane, dataDir);
    await until("it observes", () => agent.link().observes?.includes("older copy") ?? false);
    await until("the commands are open", () => plane.commandSessions.length === 1);
    const fence = { storeId: "store-1", controllerTerm: 5n, termId: "term-5-of-a-copy" };
    const order = { case: "echo", value: { text: "hi" } } as const;
    plane.order(create(CommandSchema, { commandId: "c1", fence, timeoutMs: 10_000, order }));
    await until("it refuses the order", () => plane.completions.length > 0);
    expect(plane.completions[0]?.outcome.value).toMatchObject({ reason: "PRECONDITION_FAILED" });
    await agent.stop();
    expect((await linkedStart(plane, dataDir)).register.knownTermId).toBe("term-5");
  });

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
