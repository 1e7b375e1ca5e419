import { describe, expect, it } from "vitest";
import { UsageBook } from "./usage-book.ts";
import { readUsageReport } from "./usage-report.ts";

const at = (nowMs: number) => ({ nowMs, wallMs: 1_000_000 + nowMs });
const report = (cpuUsage: number, more: object = {}) => ({
  ...{ source: "test", subjects: [{ subjectId: "s", cpuUsage }], ...more },
});

describe("the usage that is reported", () => {
  it("is that which was measured last, whichever came first", () => {
    const book = new UsageBook();
    expect(book.take(report(1), at(10_000))).toEqual({ taken: 1, ignored: 0, isDuplicate: false });
    const late = book.take(report(2, { measuredAtMs: 1_005_000 }), at(11_000));
    expect(late).toEqual({ taken: 0, ignored: 1, isDuplicate: false });
    expect(book.of("s", 11_000)).toEqual({ cpuUsage: 1, source: "test", atMs: 10_000 });
    book.take(report(3, { measuredAtMs: 1_010_500 }), at(12_000));
    expect(book.of("s", 12_000)).toMatchObject({ cpuUsage: 3, atMs: 10_500 });
  });

  it("counts a report once that comes again under its name", () => {
    const book = new UsageBook();
    book.take(report(1, { eventId: "e" }), at(1_000));
    expect(book.take(report(2, { eventId: "e" }), at(2_000)).isDuplicate).toBe(true);
    expect(book.of("s", 2_000)?.cpuUsage).toBe(1);
    expect(book.take(report(2, { eventId: "f" }), at(3_000)).isDuplicate).toBe(false);
  });

  it("takes the time of a clock that is far ahead for now", () => {
    const book = new UsageBook();
    book.take(report(1, { measuredAtMs: 9_000_000 }), at(1_000));
    expect(book.of("s", 1_000)?.atMs).toBe(1_000);
    book.take(report(2), at(2_000));
    expect(book.of("s", 2_000)?.cpuUsage).toBe(2);
  });

  it("is forgotten when it is too old, and makes room for others then", () => {
    const book = new UsageBook({ subjects: 1, events: 1, keptMs: 1_000 });
    const other = { source: "test", subjects: [{ subjectId: "t", cpuUsage: 5 }] };
    book.take(report(1), at(0));
    expect(book.take(other, at(500))).toMatchObject({ taken: 0, ignored: 1 });
    expect(book.ids(1_000)).toEqual(["s"]);
    expect(book.of("s", 1_001)).toBeUndefined();
    expect(book.take(other, at(1_001))).toMatchObject({ taken: 1 });
    expect(book.ids(1_001)).toEqual(["t"]);
  });
});

describe("a report of usage", () => {
  const subject = { subject_id: "s", cpu_usage: 8.4, memory_usage: 5_120 };
  const read = { subjectId: "s", cpuUsage: 8.4, memoryUsage: 5_120 };

  it("is an object, a list, or one subject", () => {
    expect(readUsageReport([subject])).toEqual({ source: "webhook", subjects: [read] });
    expect(readUsageReport({ ...subject, gpu_usage: null, pod: "x" })).toEqual({
      ...{ source: "webhook", subjects: [read] },
    });
    const whole = {
      ...{ event_id: "e", source: "dcgm", reported_at: "2026-11-23T00:00:00Z" },
      subjects: [{ ...subject, gpu_usage: 1.5, replicas_reported: "3" }],
    };
    expect(readUsageReport(whole)).toEqual({
      ...{ eventId: "e", source: "dcgm", measuredAtMs: Date.UTC(2026, 10, 23) },
      subjects: [{ ...read, gpuUsage: 1.5, replicas: 3 }],
    });
    const alone = { ...subject, event_id: "e", source: "dcgm", reported_at: 1_000 };
    expect(readUsageReport(alone)).toEqual({
      ...{ eventId: "e", source: "dcgm", measuredAtMs: 1_000_000, subjects: [read] },
    });
    const seconds = Date.UTC(2026, 10, 23) / 1_000;
    expect(readUsageReport({ reported_at: seconds, subjects: [] }).measuredAtMs).toBe(
      Date.UTC(2026, 10, 23),
    );
  });

  it.each([
    [undefined, "the body: expected an object or a list of subjects, got undefined"],
    [{}, "subjects: expected a list of subjects, got nothing"],
    [{ subjects: {} }, "subjects: expected a list of subjects, got object"],
    [{ subjects: [7] }, "subjects.0: expected an object, got number"],
    [{ subjects: [{}] }, "subjects.0.subject_id: expected text, got undefined"],
    [
      [{ subject_id: "s", cpu_usage: -1 }],
      "0.cpu_usage: expected a number from 0 to 1000000000000, got -1",
    ],
    [
      [{ subject_id: "s", gpu_usage: "2" }],
      "0.gpu_usage: expected a number from 0 to 1000000000000, got string",
    ],
    [
      [{ subject_id: "s", cpu_usage: 1e308 }],
      "0.cpu_usage: expected a number from 0 to 1000000000000",
    ],
    [{ subject_id: "s", replicas_reported: 1.5 }, "replicas_reported: expected a whole number"],
    [{ subjects: [], node: 1 }, "node: expected one of event_id, source, reported_at, subjects"],
    [{ subjects: [], reported_at: "noon" }, "reported_at: expected a time"],
    [{ subjects: [], event_id: "" }, "event_id: expected text of 1-253 characters"],
  ])("is refused by the field: %j", (body, message) => {
    expect(() => readUsageReport(body)).toThrow(message);
  });
});
