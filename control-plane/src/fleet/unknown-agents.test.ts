import { expect, it } from "vitest";
import { UnknownAgents } from "./unknown-agents.ts";

function open() {
  const told: string[] = [];
  const clock = { nowMs: 0, timestamp: () => `at ${clock.nowMs}` };
  const unknown = new UnknownAgents({
    clock: { nowMs: () => clock.nowMs, timestamp: clock.timestamp },
    onUnknown: (clusterId) => told.push(clusterId),
  });
  const asks = (clusterId: string, atMs: number, address?: string) => {
    clock.nowMs = atMs;
    unknown.asked(clusterId, address);
  };
  return { unknown, told, asks, clock };
}

it("tells of a cluster whose agent goes on asking, once an hour, and shows when it asked last", () => {
  const { unknown, told, asks } = open();
  asks("c1", 0);
  asks("c1", 1_000);
  expect([told, unknown.list()]).toEqual([[], []]);
  asks("c1", 2_000);
  for (let atMs = 10_000; atMs < 3_600_000; atMs += 10_000) asks("c1", atMs);
  expect(told).toEqual(["c1"]);
  expect(unknown.list()).toEqual([{ clusterId: "c1", seenAt: "at 3590000" }]);
  asks("c1", 3_610_000);
  expect(told).toEqual(["c1", "c1"]);
});

it("says nothing of one that has got its key meanwhile, and forgets one that asks no more", () => {
  const { unknown, told, asks, clock } = open();
  asks("new", 0);
  unknown.known("new");
  asks("new", 5_000);
  asks("old", 5_000);
  asks("old", 8_000);
  expect(told).toEqual(["old"]);
  unknown.known("old");
  expect(unknown.list()).toEqual([]);
  asks("away", 10_000);
  asks("away", 12_000);
  clock.nowMs = 612_001;
  expect(unknown.list()).toEqual([]);
});

it("shows 100 clusters, however many ids are made up, and those first that went on asking first", () => {
  const { unknown, told, asks } = open();
  for (const atMs of [0, 2_000]) {
    for (let n = 0; n < 60; n += 1) asks(`real-${n}`, atMs);
    for (let n = 0; n < 900; n += 1) asks(`made-up-${atMs}-${n}`, atMs);
  }
  expect(unknown.list()).toHaveLength(60);
  expect(told).toHaveLength(60);
  for (const atMs of [3_000, 6_000]) {
    for (let n = 0; n < 300; n += 1) asks(`more-${n}`, atMs);
  }
  asks("more-0", 9_000);
  expect(unknown.list()).toHaveLength(100);
  expect(told).toHaveLength(100);
  expect(unknown.list().filter(({ clusterId }) => clusterId.startsWith("real-"))).toHaveLength(60);
});

it.each([
  ["again and again", 900, 0, 70],
  ["once each", 0, 1_500, 0],
])(
  "shows those of other addresses beside one that makes up ids, and asks for them %s",
  (...row) => {
    const [, kept, fresh, others] = row;
    const { unknown, told, asks } = open();
    for (let atMs = 0; atMs < 60_000; atMs += 10_000) {
      for (let n = 0; n < kept; n += 1) asks(`made-up-${n}`, atMs, "10.0.0.6");
      for (let n = 0; n < fresh; n += 1) asks(`once-${atMs}-${n}`, atMs + 1, "10.0.0.6");
      for (let n = 0; n < 30; n += 1) asks(`lost-${n}`, atMs + 5_000, `10.1.0.${n}`);
    }
    const shown = unknown.list().map(({ clusterId }) => clusterId);
    expect(shown.filter((id) => id.startsWith("lost-"))).toHaveLength(30);
    expect(shown).toHaveLength(30 + others);
    expect(told).toEqual(expect.arrayContaining(["lost-0", "lost-29"]));
  },
);
