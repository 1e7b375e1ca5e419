import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import { Code } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { INSTANCE, type RegisterInit } from "../../testing/agents.ts";
import { ECHO, hasCode, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";
import { duplicateRoutes } from "../rest/duplicate-routes.ts";

const instance = (n: number) => `00000000-0000-4000-8000-0000000000${n}`;
const COPY = instance(10);
/** The next start on a copy of the first agent's state. */
const copied: RegisterInit = {
  agentIncarnation: 2n,
  agentInstanceId: COPY,
  formerInstanceIds: [INSTANCE],
};

const link = useLinkServer();

const instances = () => link.server.sessions.status(ORG).map((status) => status.agentInstanceId);
const state = async () => (await link.server.agents.duplicates(ORG, "c1")).state;

/** The first agent and a copy of it that both speak for 10 s; nobody has been heard for longer yet. */
async function twoAgents() {
  const first = link.newAgent();
  const report = first.report((await first.join()).sessionId);
  const copy = link.newAgent();
  const speak = async () => {
    report.send();
    await vi.waitFor(() => expect(link.server.sessions.status(ORG)[0]?.heardMsAgo).toBe(0));
  };
  for (link.server.nowMs = 0; link.server.nowMs <= 10_000; link.server.nowMs += 2_000) {
    await expect(copy.register(copied)).rejects.toSatisfy(hasCode(Code.Unavailable));
    await speak();
    expect(instances()).toEqual([INSTANCE]);
  }
  return { first, copy, report, speak };
}

/** Two agents that are both refused. */
async function foundOut() {
  const both = await twoAgents();
  await both.speak();
  await expect(both.copy.register(copied)).rejects.toSatisfy(hasCode(Code.AlreadyExists));
  return both;
}

describe("a copy of a running agent's state", () => {
  it("never takes the place of an agent that is there, though it was started later", async () => {
    const first = link.newAgent();
    await first.join();
    await expect(link.newAgent().register(copied)).rejects.toThrow("may still be there; try again");
    expect(instances()).toEqual([INSTANCE]);
    expect(await state()).toBe("clear");
    await expect(first.register()).resolves.toBeDefined();
  });

  it("is refused together with the first one after 10 s, told as an event, over our restart", async () => {
    const { report } = await foundOut();
    await expect(report.ended).rejects.toThrow("two agents run as this cluster");
    expect(instances()).toEqual([]);
    expect(link.server.sessions.views(ORG).map(({ health }) => health)).toEqual(["unreachable"]);
    await vi.waitFor(async () => expect(await link.eventKinds()).toContain("cluster_duplicate"));
    const [event] = await link.server.events.list({ kind: "cluster_duplicate", limit: 2 });
    expect(JSON.parse(event?.factsJson ?? "").candidates).toMatchObject([
      { agent_instance_id: INSTANCE, agent_incarnation: 1, address: "127.0.0.1" },
      { agent_instance_id: COPY, agent_incarnation: 2, address: "127.0.0.1" },
    ]);
    await link.restart();
    await expect(link.newAgent().register()).rejects.toThrow("`berth pick cluster c1`");
    await expect(link.newAgent().register(copied)).rejects.toSatisfy(hasCode(Code.AlreadyExists));
  });

  it("is found by a report of the first one too", async () => {
    const { copy, report } = await twoAgents();
    await expect(copy.register(copied)).rejects.toSatisfy(hasCode(Code.Unavailable));
    report.send();
    await expect(report.ended).rejects.toThrow("two agents run as this cluster");
    expect(await state()).toBe("duplicate");
  });

  it("does not count when it only came while the first one ended", async () => {
    const first = link.newAgent();
    await first.join();
    await expect(link.newAgent().register(copied)).rejects.toSatisfy(hasCode(Code.Unavailable));
    first.close();
    await vi.waitFor(() => expect(link.server.sessions.status(ORG)[0]?.connected).toBe(false));
    await link.newAgent().register(copied);
    expect(instances()).toEqual([COPY]);
    expect(await state()).toBe("clear");
  });

  it("waits after our restart for the one that spoke last, unless it is a later start", async () => {
    await link.newAgent().register({ agentIncarnation: 5n });
    await link.restart();
    const older = { agentIncarnation: 4n, agentInstanceId: COPY };
    await expect(link.newAgent().register(older)).rejects.toSatisfy(hasCode(Code.Unavailable));
    await link.newAgent().register({ ...copied, agentIncarnation: 6n });
    expect(instances()).toEqual([COPY]);
  });
});

describe("an agent that was restarted", () => {
  it("is taken at once when the streams of the last process have ended", async () => {
    const first = link.newAgent();
    await first.join();
    first.close();
    await vi.waitFor(() => expect(link.server.sessions.status(ORG)[0]?.connected).toBe(false));
    await link.newAgent().join(copied);
    expect(instances()).toEqual([COPY]);
    expect(await link.eventKinds()).not.toContain("agent_restored");
  });
});

describe("an operator's pick", () => {
  it("lets the first one in and keeps the copy refused, over its restarts and ours", async () => {
    const { first, copy } = await foundOut();
    await link.server.agents.pick(ORG, "c1", INSTANCE);
    await first.register();
    await expect(copy.register(copied)).rejects.toThrow("picked another agent");
    await link.restart();
    link.server.nowMs += 60_000;
    const again = {
      agentIncarnation: 3n,
      agentInstanceId: instance(11),
      formerInstanceIds: [INSTANCE, COPY, instance(11)],
    };
    await expect(link.newAgent().register(again)).rejects.toThrow("picked another agent");
    const restarted = { ...again, agentInstanceId: instance(12), formerInstanceIds: [INSTANCE] };
    await link.newAgent().register(restarted);
    expect(instances()).toEqual([instance(12)]);
    await vi.waitFor(async () => {
      expect((await link.eventKinds()).filter((kind) => kind === "agent_refused")).toHaveLength(2);
    });
  });

  it("takes a picked copy as restored: what the first one may have carried out is refused", async () => {
    const { first, copy } = await foundOut();
    const sent = link.server.commands.send("c1", ECHO, { timeoutMs: 60_000 });
    await vi.waitFor(async () => {
      expect(await link.server.commands.list({ state: "pending", limit: 1 })).toHaveLength(1);
    });
    await link.server.agents.pick(ORG, "c1", COPY);
    await expect(first.register()).rejects.toThrow("picked another agent");
    expect(await copy.register(copied)).toMatchObject({ snapshotWanted: true });
    expect(await sent).toMatchObject({ kind: "refused", reason: "CONFLICT" });
  });

  it("is asked for over REST", async () => {
    const rest = createHttpServer({
      origins: { allowedHosts: [], allowedOrigins: [] },
      authenticate: loopbackAuthenticator(ORG),
      logger: silentLogger,
    });
    rest.setValidatorCompiler(() => () => true);
    duplicateRoutes(rest, link.server.agents);
    const ask = async (method: "GET" | "POST", url: string, payload?: object) => {
      const headers = { host: "127.0.0.1" };
      const answer = await rest.inject({ method, url, headers, ...(payload ? { payload } : {}) });
      return { status: answer.statusCode, body: answer.json() };
    };
    const missing = await ask("GET", "/clusters/c1/duplicates");
    expect(missing).toMatchObject({ status: 404, body: { reason: "NOT_FOUND" } });
    await link.newAgent().register({ agentInstanceId: instance(13) });
    const clear = await ask("GET", "/clusters/c1/duplicates");
    expect(clear.body.data).toEqual({
      ...{ cluster_id: "c1", state: "clear", since: null, candidates: [] },
    });
    const early = await ask("POST", "/clusters/c1/pick", { agent_instance_id: INSTANCE });
    expect(early).toMatchObject({ body: { reason: "PRECONDITION_FAILED" } });
    await link.server.agents.forget(ORG, "c1", { force: true });
    await foundOut();
    const { body } = await ask("GET", "/clusters/c1/duplicates");
    expect(body.data).toMatchObject({ state: "duplicate", since: expect.any(String) });
    expect(body.data.candidates).toMatchObject([
      { agent_instance_id: INSTANCE, verdict: "undecided", first_seen_at: expect.any(String) },
      { agent_instance_id: COPY, agent_incarnation: 2, address: "127.0.0.1", age_ms: 0 },
    ]);
    for (const [payload, field] of [
      [{ agent_instance_id: "x" }, "agent_instance_id: expected one of"],
      [{}, "agent_instance_id: required field is missing"],
      [{ boot_id: "x", agent_instance_id: COPY }, "boot_id: unknown field"],
    ] as const) {
      const refused = await ask("POST", "/clusters/c1/pick", payload);
      expect(refused.status).toBe(400);
      expect(refused.body.message).toContain(field);
    }
    const done = await ask("POST", "/clusters/c1/pick", { agent_instance_id: COPY });
    expect(done.body.data).toMatchObject({
      state: "picked",
      candidates: [{ verdict: "refused" }, { verdict: "picked" }],
    });
    await rest.close();
  });

  it("is not needed when the cluster is removed: the next agent is the only one", async () => {
    await foundOut();
    await link.server.agents.forget(ORG, "c1");
    await link.newAgent().register({ agentInstanceId: instance(14) });
    expect(instances()).toEqual([instance(14)]);
    expect(await state()).toBe("clear");
  });
});
