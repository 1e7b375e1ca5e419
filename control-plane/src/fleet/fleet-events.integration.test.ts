import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { EventSchema } from "@berth/proto";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  EVENT_LIMITS,
  type EventLimits,
  type FleetEvents,
  openFleetEvents,
} from "./fleet-events.ts";

const ORG = "default_org";

let directory: string;
let store: DocumentStore;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-fleet-events-"));
  store = openSqliteDocumentStore(path.join(directory, "test.db"), systemClock);
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

function open(limits: Partial<EventLimits> = {}): Promise<FleetEvents> {
  const shared = { store, orgId: ORG, clock: systemClock, logger: silentLogger };
  return openFleetEvents({ ...shared, limits: { ...EVENT_LIMITS, ...limits } });
}

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const some = (from: number, count: number, json = "{}") =>
  Array.from({ length: count }, (_none, index) => {
    const eventId = uuid(from + index);
    return create(EventSchema, { eventId, key: "node/a", kind: "node_joined", json, ageMs: 0n });
  });

/** Numbers of the events that are kept, oldest first. */
async function numbers(events: FleetEvents, clusterId?: string): Promise<readonly number[]> {
  const found = await events.list({ clusterId, kind: "node_joined", limit: 1_000 });
  return found.map(({ eventId }) => Number(eventId.slice(-12))).reverse();
}

/** Documents that the events take: one for the event and one for its id. */
async function documents(): Promise<readonly number[]> {
  const count = async (collection: string) => (await store.list({ orgId: ORG, collection })).length;
  return [await count("fleet_events"), await count("fleet_event_ids")];
}

describe("FleetEvents", () => {
  it("holds a cluster to its share as events come, and others keep theirs", async () => {
    const events = await open({ keptOfCluster: 3 });
    await events.take("quiet", some(1, 2));
    await events.take("loud", some(1, 5));
    await events.take("loud", some(6, 1));
    expect(await numbers(events, "loud")).toEqual([4, 5, 6]);
    expect(await numbers(events, "quiet")).toEqual([1, 2]);
    expect(await documents()).toEqual([5, 5]);
  });

  it("holds a cluster to its share of characters as events come", async () => {
    const events = await open({ keptCharactersOfCluster: 25 });
    await events.take("quiet", some(1, 2, '{"a":1234}'));
    await events.take("loud", some(1, 2, '{"a":1234}'));
    await events.take("loud", some(3, 1, '{"a":1234}'));
    expect(await numbers(events, "loud")).toEqual([2, 3]);
    expect(await numbers(events, "quiet")).toEqual([1, 2]);
  });

  it("never lets an agent push out what the control-plane tells of its link", async () => {
    const events = await open({ keptOfCluster: 2 });
    for (const reason of ["a", "b", "c"]) {
      events.record({ orgId: ORG, clusterId: "c1", kind: "agent_lost", facts: { reason } });
    }
    await events.close();
    await events.take("c1", some(1, 10));
    const lost = await events.list({ clusterId: "c1", kind: "agent_lost", limit: 10 });
    expect(lost.map(({ factsJson }) => factsJson)).toEqual(['{"reason":"c"}', '{"reason":"b"}']);
    expect(await numbers(events)).toEqual([9, 10]);
  });

  it.each([
    ["count", { kept: 30 }],
    ["size", { keptCharacters: 300 }],
  ])("holds all to the bound of %s as events come, the oldest go", async (_what, limits) => {
    const events = await open(limits);
    const json = '{"a":1234}';
    await events.take("c1", some(1, 25, json));
    await events.take("c2", some(26, 5, json));
    expect(await documents()).toEqual([30, 30]);
    await events.take("c2", some(31, 24, json));
    expect(await numbers(events)).toEqual(Array.from({ length: 30 }, (_none, n) => n + 25));
    expect(await documents()).toEqual([30, 30]);
  });

  it("holds to its bounds when many clusters tell at the same moment", async () => {
    const events = await open({ kept: 50, keptOfCluster: 10 });
    const clusters = Array.from({ length: 20 }, (_none, n) => `c${n}`);
    for (let from = 1; from < 40; from += 13) {
      await Promise.all(clusters.map((clusterId) => events.take(clusterId, some(from, 13))));
    }
    expect(await documents()).toEqual([50, 50]);
    const reopened = await open({ kept: 40 });
    await reopened.prune();
    expect(await documents()).toEqual([40, 40]);
  });

  it("takes an event in again that has gone, and no other twice", async () => {
    const events = await open({ keptOfCluster: 2 });
    await events.take("c1", some(1, 3));
    await events.take("c1", some(3, 1));
    expect(await numbers(events)).toEqual([2, 3]);
    await events.take("c1", some(1, 1));
    expect(await numbers(events)).toEqual([3, 1]);
  });

  it("holds a store that was filled under other bounds to them when it is pruned", async () => {
    await (await open()).take("c1", some(1, 450));
    const events = await open({ keptOfCluster: 7 });
    await events.prune();
    expect(await numbers(events)).toEqual([444, 445, 446, 447, 448, 449, 450]);
    expect(await documents()).toEqual([7, 7]);
  });

  it("forgets what is older than it is kept, however much", async () => {
    const events = await open();
    await events.take("c1", some(1, 450));
    const clock = { ...systemClock, timestamp: () => "2999-01-01T00:00:00.000Z" };
    const later = await openFleetEvents({ store, orgId: ORG, clock, logger: silentLogger });
    await later.prune();
    expect(await documents()).toEqual([0, 0]);
  });
});
