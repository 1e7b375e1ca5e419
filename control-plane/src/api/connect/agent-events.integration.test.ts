import { openSqliteDocumentStore, silentLogger, systemClock } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { EVENT_LIMITS, openFleetEvents } from "../../fleet/fleet-events.ts";
import { entry, type StateStream } from "../../testing/agents.ts";
import { aDocument } from "../../testing/documents.ts";
import { useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const anEvent = (
  n: number,
  overrides: { json?: string; kind?: string; eventId?: string; key?: string } = {},
) => ({
  ...{ eventId: uuid(n), key: "node/a", kind: "node_joined", json: `{"n":${n}.0}`, ageMs: 60_000n },
  ...overrides,
});

async function send(state: StateStream, events: readonly ReturnType<typeof anEvent>[]) {
  state.send({ events: [...events] } as never);
  return await state.answer();
}

const kept = (limit = 100) => link.server.events.list({ kind: "node_joined", limit });

describe("FleetEvents", () => {
  it("takes each event in once, durably before it is acknowledged, and gives the newest first", async () => {
    const state = await link.agent.join();
    expect(await send(state, [anEvent(1), anEvent(2), anEvent(2)])).toMatchObject({ acked: 3 });
    await send(state, [anEvent(2), anEvent(3)]);
    const again = await link.agent.join();
    await send(again, [anEvent(1), anEvent(4)]);
    const events = await kept();
    expect(events.map(({ eventId }) => eventId)).toEqual([4, 3, 2, 1].map(uuid));
    expect(events[3]).toMatchObject({ clusterId: "c1", key: "node/a", factsJson: '{"n":1.0}' });
    const ageMs = Date.now() - Date.parse(events[0]?.at ?? "");
    expect(ageMs).toBeGreaterThan(59_000);
    await link.server.stop();
    await link.server.start();
    expect(await kept()).toEqual(events);
    const [, second] = events;
    const older = await link.server.events.list({
      kind: "node_joined",
      before: second?.seq,
      limit: 1,
    });
    expect(older.map(({ eventId }) => eventId)).toEqual([uuid(2)]);
  });

  it("takes what two clusters tell under one id for two events", async () => {
    await send(await link.agent.join(), [anEvent(1)]);
    const other = link.newAgent("c2");
    await send(await other.join(), [anEvent(1)]);
    expect((await kept()).map(({ clusterId }) => clusterId)).toEqual(["c2", "c1"]);
  });

  it.each([
    [{ eventId: "x" }, "events.0.event_id: expected a UUID"],
    [{ kind: "Bad" }, "events.0.kind: "],
    [{ kind: "agent_lost" }, 'events.0.kind: only the control-plane tells "agent_lost"'],
    [{ kind: "cluster_duplicate" }, "events.0.kind: only the control-plane tells"],
    [{ key: "" }, "events.0.key: expected what the event is about"],
    [{ key: "node/a b" }, "events.0.key: expected what the event is about"],
    [{ key: `node/${"x".repeat(508)}` }, "events.0.key: expected at most 512 characters"],
    [{ json: "[]" }, "events.0.json: expected a JSON object"],
    [{ json: "{" }, "events.0.json: expected a JSON object"],
    [{ json: `{"x":"${"x".repeat(70_000)}"}` }, "events.0.json: expected at most"],
    [
      { json: `{"x":${"[".repeat(30_000)}${"]".repeat(30_000)}}` },
      "events.0.json: expected at most 128 levels",
    ],
  ])("refuses a bad event by name: %#", async (bad, message) => {
    const state = await link.agent.join();
    await expect(send(state, [anEvent(1, bad)])).rejects.toThrow(message);
    expect(await kept()).toEqual([]);
  });

  it("keeps the stream when the disk takes no events, says so, and takes the rest of the message in", async () => {
    const state = await link.agent.join();
    link.server.diskFailure = "the database cannot be written: database or disk is full";
    const entries = [entry("cluster", 2, { ...aDocument("c1"), tags: ["new"] })];
    state.send({ entries, events: [anEvent(1)] } as never);
    const answer = await state.answer();
    expect(answer).toMatchObject({ acked: 3, refused: link.server.diskFailure });
    expect((await link.server.registry().get(ORG, "c1")).document.tags).toEqual(["new"]);
    expect(await kept()).toEqual([]);
    link.server.diskFailure = undefined;
    expect(await send(state, [anEvent(1)])).toEqual({ acked: 4, admitted: true });
    expect(await kept()).toHaveLength(1);
  });

  it("refuses bad events by name on a full disk too", async () => {
    const state = await link.agent.join();
    link.server.diskFailure = "full";
    await expect(send(state, [anEvent(1, { kind: "Bad" })])).rejects.toThrow("events.0.kind: ");
  });

  it("forgets the oldest beyond its bounds of count and size", async () => {
    const state = await link.agent.join();
    await send(
      state,
      [1, 2, 3, 4, 5].map((n) => anEvent(n)),
    );
    await link.stop();
    const store = openSqliteDocumentStore(link.server.file, systemClock);
    const limits = { ...EVENT_LIMITS, kept: 3 };
    const shared = { store, orgId: ORG, clock: systemClock, logger: silentLogger };
    const events = await openFleetEvents({ ...shared, limits });
    await events.prune();
    const left = await events.list({ limit: 100 });
    expect(left.map(({ eventId }) => eventId)).toEqual([5, 4, 3].map(uuid));
    const small = await openFleetEvents({ ...shared, limits: { ...limits, keptCharacters: 20 } });
    await small.prune();
    expect(await small.list({ limit: 100 })).toHaveLength(2);
    await events.close();
    await store.close();
  });
});
