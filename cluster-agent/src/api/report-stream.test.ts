import { NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { Outgoing } from "../testing/agent.ts";
import { ReportSequence, StreamReader } from "./report-stream.ts";

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

describe("StreamReader", () => {
  const readers: StreamReader<number>[] = [];
  const reader = (source: AsyncIterator<number>, silenceMs = 5_000) => {
    const made = new StreamReader(source, silenceMs);
    readers.push(made);
    return made;
  };

  afterEach(() => {
    for (const one of readers.splice(0)) one.close();
  });

  it("gives messages and the end", async () => {
    const source = new Outgoing<number>();
    source.send(1);
    source.end();
    const one = reader(source[Symbol.asyncIterator]());
    expect(await one.next()).toEqual({ kind: "message", message: 1 });
    expect(await one.next()).toEqual({ kind: "end" });
  });

  it("tells silence", async () => {
    const silent = new Outgoing<number>()[Symbol.asyncIterator]();
    expect(await reader(silent, 10).next()).toEqual({ kind: "silent" });
  });

  it("tells an abort, also one of before", async () => {
    const abort = new AbortController();
    const one = reader(new Outgoing<number>()[Symbol.asyncIterator]());
    one.endWith(abort.signal);
    const aborted = one.next();
    abort.abort();
    expect(await aborted).toEqual({ kind: "aborted" });
    expect(await one.next()).toEqual({ kind: "aborted" });
  });

  it("rejects when the stream breaks", async () => {
    const broken = { next: () => Promise.reject(new Error("cut")) };
    await expect(reader(broken).next()).rejects.toThrow("cut");
  });
});
