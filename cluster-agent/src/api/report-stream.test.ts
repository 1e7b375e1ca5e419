import { NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { Outgoing } from "../testing/agent.ts";
import { nextMessage, ReportSequence } from "./report-stream.ts";

const message = (registrationId: string, streamSeq: bigint) =>
  create(NodeReportRequestSchema, { registrationId, streamSeq });

describe("ReportSequence", () => {
  const end = new AbortController();
  const registration = { nodeId: "n", id: "r1", ended: end.signal };
  const find = (id: string) => (id === "r1" ? registration : undefined);

  it("takes numbers without a gap from 1", () => {
    const sequence = new ReportSequence(find);
    expect(sequence.registration).toBeUndefined();
    expect(sequence.next(message("r1", 1n), "n")).toBe(registration);
    expect(sequence.next(message("r1", 2n), "n")).toBe(registration);
    expect(() => sequence.next(message("r1", 4n), "n")).toThrow("stream_seq: expected 3, got 4");
    expect(() => sequence.next(message("r1", 2n), "n")).toThrow("stream_seq: expected 3, got 2");
  });

  it("refuses the registration of another node than the key's, at any message", () => {
    const sequence = new ReportSequence(find);
    expect(() => sequence.next(message("r1", 1n), "other")).toThrow("another node");
    sequence.next(message("r1", 1n), "n");
    expect(() => sequence.next(message("r1", 2n), "other")).toThrow("another node");
  });

  it("refuses another registration, an unknown one and an ended one", () => {
    const sequence = new ReportSequence(find);
    expect(() => sequence.next(message("r2", 1n), "n")).toThrow("registration_id");
    sequence.next(message("r1", 1n), "n");
    expect(() => sequence.next(message("r2", 2n), "n")).toThrow("registration_id");
    end.abort();
    expect(() => sequence.next(message("r1", 2n), "n")).toThrow("registration_id");
  });
});

describe("nextMessage", () => {
  const never = new AbortController().signal;

  it("gives messages and the end", async () => {
    const source = new Outgoing<number>();
    source.send(1);
    source.end();
    const iterator = source[Symbol.asyncIterator]();
    const limits = { silenceMs: 5_000, signals: [never] };
    expect(await nextMessage(iterator, limits)).toEqual({ kind: "message", message: 1 });
    expect(await nextMessage(iterator, limits)).toEqual({ kind: "end" });
  });

  it("tells silence and an abort, also one of before", async () => {
    const abort = new AbortController();
    const limits = { silenceMs: 10, signals: [abort.signal] };
    const silent = new Outgoing<number>()[Symbol.asyncIterator]();
    expect(await nextMessage(silent, limits)).toEqual({ kind: "silent" });
    const aborted = nextMessage(silent, { ...limits, silenceMs: 5_000 });
    abort.abort();
    expect(await aborted).toEqual({ kind: "aborted" });
    expect(await nextMessage(silent, limits)).toEqual({ kind: "aborted" });
  });

  it("rejects when the stream breaks", async () => {
    const broken = { next: () => Promise.reject(new Error("cut")) };
    const limits = { silenceMs: 5_000, signals: [never] };
    await expect(nextMessage(broken, limits)).rejects.toThrow("cut");
  });
});
