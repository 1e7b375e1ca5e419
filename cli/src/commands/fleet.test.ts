import { describe, expect, it } from "vitest";
import { eventsPath, eventsView } from "./events.ts";
import { adoptionText, fleetText } from "./fleet.ts";
import { pongText, withinMs } from "./ping.ts";

describe("fleetText", () => {
  const agent = {
    ...{ cluster_id: "c1", connected: true, mode: "observe", why: "another store" },
    ...{ known_store_id: "s0", known_controller_term: 3, heard_ms_ago: 12 },
    ...{ agent_incarnation: 2, agent_version: "0.1.0" },
  };
  const status = {
    ...{ store_id: "s1", controller_term: 4, restored: null, agents: [agent] },
    snapshots: { admitted: 0, waiting: 0, limit: 32 },
  };

  it("shows the store and who obeys it", () => {
    const [store, columns, row] = fleetText(status).split("\n");
    expect(store).toBe("store s1, term 4");
    expect(columns).toMatch(/^CLUSTER +MODE/);
    expect(row).toMatch(/^c1 +observe +yes +12 ms ago +s0 +3 +2 +0\.1\.0 +another store$/);
  });

  it("says loudly that the store was restored, and who waits", () => {
    const text = fleetText({
      ...status,
      restored: { cluster_id: "c1", known_term: 9 },
      snapshots: { waiting: 7 },
    });
    expect(text).toContain("RESTORED FROM AN OLDER COPY: cluster c1 has seen term 9");
    expect(text).toContain("7 agents wait");
  });
});

it("names agents that ask with keys that are not known, and what lets them in", () => {
  const unknown = Array.from({ length: 12 }, (_, n) => ({ cluster_id: `lost-${n}` }));
  const text = fleetText({ store_id: "s1", controller_term: 4, unknown });
  expect(text).toContain("does not know: lost-0, lost-1");
  expect(text).toContain("lost-9, and 2 more (-o json); a token lets them in again");
});

describe("adoptionText", () => {
  it.each([
    [{ adopted: [], renewed: false }, "nothing to adopt"],
    [{ adopted: ["s0"], agents: [{ cluster_id: "c1" }] }, "took the place of s0"],
    [{ adopted: ["s0"], dry_run: true, agents: [] }, "would take the place of s0"],
    [
      { adopted: ["s1"], renewed: true, store_id: "s2", agents: [] },
      "this store got s2: it was restored",
    ],
    [
      { adopted: ["s1"], renewed: true, dry_run: true, agents: [] },
      "this store would get a new id: it was restored",
    ],
  ])("says of %j: %s", (report, words) => {
    expect(adoptionText(report)).toContain(words);
  });
});

describe("ping and events", () => {
  it("shows an answer in one line", () => {
    const pong = { command_id: "x", result: { text: "hi", runs: 1 }, round_trip_ms: 1.5 };
    expect(pongText("c1", pong)).toBe('c1 answered "hi" in 1.5 ms (runs: 1, command x)\n');
  });

  it.each(["", "0", "-1", "601", "soon"])("refuses to wait %j seconds", (text) => {
    expect(() => withinMs(text)).toThrow(`--within ${JSON.stringify(text)}: expected`);
  });

  it("asks for a page of events and shows one per row", () => {
    expect(eventsPath({ limit: "5" })).toBe("/events?limit=5");
    const filters = { cluster: "a b", kind: "agent_lost", before: "9", limit: "5" };
    expect(eventsPath(filters)).toBe("/events?limit=5&cluster_id=a+b&kind=agent_lost&before=9");
    const event = { seq: 1, at: "t", cluster_id: "c", kind: "k", key: "node/n", facts: { a: 1 } };
    expect(eventsView([event]).rows).toEqual([["1", "t", "c", "k", "node/n", '{"a":1}']]);
  });
});
