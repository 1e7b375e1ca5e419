import { silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ReportFeed, readFeedRequest } from "./report-feed.ts";

let made: number;
let feed: ReportFeed;

beforeEach(() => {
  vi.useFakeTimers();
  made = 0;
  const report = async () => {
    made += 1;
    return `report ${made}`;
  };
  feed = new ReportFeed({ report, logger: silentLogger });
});
afterEach(async () => {
  await feed.stop();
  vi.useRealTimers();
});

/** A subscriber that reads at once, or when it is let. */
function reader(intervalSeconds: number, { changes = false, isSlow = false } = {}) {
  const frames: string[] = [];
  const waiting: (() => void)[] = [];
  const end = feed.subscribe({ intervalSeconds, changes }, async (frame) => {
    frames.push(frame.toString());
    if (isSlow) await new Promise<void>((resolve) => waiting.push(resolve));
  });
  return { frames, end, read: () => waiting.shift()?.() };
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("the feed of the report", () => {
  it("sends one at once, and then one in each interval of each subscriber", async () => {
    const [each, third] = [reader(1), reader(3)];
    await pass(10);
    expect([each.frames, third.frames]).toEqual([["report 1"], ["report 1"]]);
    await pass(6_000);
    expect([each.frames.length, third.frames.length]).toEqual([7, 3]);
  });

  it("makes one report a tick, however many read it", async () => {
    const readers = Array.from({ length: 500 }, () => reader(1));
    await pass(10);
    expect(made).toBe(1);
    await pass(3_000);
    expect(made).toBe(4);
    expect(readers.every(({ frames }) => frames.length === 4)).toBe(true);
  });

  it("gives who is slow to read the newest one", async () => {
    const slow = reader(1, { isSlow: true });
    const quick = reader(1);
    await pass(5_010);
    expect(slow.frames).toEqual(["report 1"]);
    slow.read();
    await pass(0);
    expect(slow.frames).toEqual(["report 1", quick.frames.at(-1)]);
  });

  it("tells of changes at once to those who want it, several of one moment in one frame", async () => {
    const [told, others] = [reader(3_600, { changes: true }), reader(3_600)];
    await pass(10);
    for (let change = 0; change < 20; change += 1) feed.changed();
    await pass(100);
    expect([told.frames.length, others.frames.length]).toEqual([2, 1]);
  });

  it("gives a report that was begun after the change", async () => {
    let finish: (text: string) => void = () => undefined;
    const begun: string[] = [];
    const slow = new ReportFeed({
      report: () => {
        begun.push("");
        return new Promise((resolve) => {
          finish = resolve;
        });
      },
      logger: silentLogger,
    });
    const frames: string[] = [];
    slow.subscribe({ intervalSeconds: 3_600, changes: true }, async (frame) => {
      frames.push(frame.toString());
    });
    await pass(10);
    slow.changed();
    await pass(100);
    finish("before");
    await pass(10);
    expect([frames, begun.length]).toEqual([["before"], 2]);
    finish("after");
    await pass(10);
    expect(frames).toEqual(["before", "after"]);
    await slow.stop();
  });

  it("ends with its last subscriber, and goes on after a report that failed", async () => {
    const one = reader(1);
    one.end();
    await pass(3_000);
    expect([feed.size, one.frames.length, vi.getTimerCount()]).toEqual([0, 0, 0]);
    let isFailing = true;
    const failing = new ReportFeed({
      report: async () => {
        if (isFailing) throw new Error("no");
        return "well";
      },
      logger: silentLogger,
    });
    const frames: string[] = [];
    failing.subscribe({ intervalSeconds: 1, changes: false }, async (frame) => {
      frames.push(frame.toString());
    });
    await pass(10);
    isFailing = false;
    await pass(1_000);
    expect(frames).toEqual(["well"]);
    await failing.stop();
  });
});

describe("the query of a feed", () => {
  it.each([
    ["", { intervalSeconds: 30, changes: false }],
    ["interval=", { intervalSeconds: 30, changes: false }],
    ["interval=1&changes=true", { intervalSeconds: 1, changes: true }],
    ["interval=3600&changes=", { intervalSeconds: 3_600, changes: false }],
  ])("is read: %s", (query, request) => {
    expect(readFeedRequest(new URLSearchParams(query))).toEqual(request);
  });

  it.each(["interval=0", "interval=3601", "interval=1.5", "interval=x", "interval=-1"])(
    "is refused: %s",
    (query) => {
      expect(() => readFeedRequest(new URLSearchParams(query))).toThrow(
        /^interval: expected a whole number of seconds from 1 to 3600, got /,
      );
    },
  );

  it("is refused when changes is neither true nor false", () => {
    expect(() => readFeedRequest(new URLSearchParams("changes=yes"))).toThrow(/^changes: expected/);
  });
});
