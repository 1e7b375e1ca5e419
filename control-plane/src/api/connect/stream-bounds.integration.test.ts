import { EntrySchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { entry, StateStream } from "../../testing/agents.ts";
import { useLinkServer } from "../../testing/link-fixture.ts";

const link = useLinkServer();

const refusedWith = (code: Code, text: string) => (thrown: unknown) =>
  thrown instanceof ConnectError && thrown.code === code && thrown.message.includes(text);
const gone = (key: string) => create(EntrySchema, { key, revision: 1n, deleted: true });

describe("a stream of telemetry", () => {
  it("ends when its first report has more keys than a cluster, though none of them is held", async () => {
    const { sessionId } = await link.agent.join();
    const report = link.agent.report(sessionId);
    for (let from = 0; from < 11_000; from += 1_000) {
      report.send(Array.from({ length: 1_000 }, (_none, n) => gone(`node/${from + n}`)));
    }
    const message = "entries.2.key: expected at most 10002 different keys";
    await expect(report.ended).rejects.toSatisfy(refusedWith(Code.InvalidArgument, message));
  });

  it.each([
    [`node/${"x".repeat(508)}`, "entries.1.key: expected at most 512 characters"],
    ["secrets", 'entries.1.key: unknown key "secrets"'],
  ])("ends at the end of a bad key, in the first report and later: %#", async (key, message) => {
    const { sessionId } = await link.agent.join();
    const first = link.agent.report(sessionId);
    first.send([entry("metrics", 1, {}), gone(key)]);
    await expect(first.ended).rejects.toSatisfy(refusedWith(Code.InvalidArgument, message));
    const later = link.agent.report(sessionId);
    for (let n = 0; n < 3; n += 1) later.send();
    later.send([entry("metrics", 2, {}), gone(key)]);
    await expect(later.ended).rejects.toSatisfy(refusedWith(Code.InvalidArgument, message));
  });
});

describe("a snapshot", () => {
  it.each([
    [`node/${"x".repeat(508)}`, "entries.1.key: expected at most 512 characters"],
    ["secrets", 'entries.1.key: unknown key "secrets"'],
  ])("is refused at the first chunk with a bad key: %#", async (key, message) => {
    const state = await link.agent.open();
    await state.admitted();
    state.send({ snapshot: true, entries: [gone("cluster"), gone(key)] });
    await expect(state.answer()).rejects.toSatisfy(refusedWith(Code.InvalidArgument, message));
  });
});

describe("a second stream of a kind", () => {
  it("is taken in once the first has ended, and after one that was refused", async () => {
    const state = await link.agent.join();
    state.end();
    await expect(state.answer()).rejects.toThrow("the stream has ended");
    for (let n = 0; n < 3; n += 1) {
      const next = new StateStream(link.agent, state.sessionId);
      next.send({ streamSeq: 1n });
      expect(await next.answer()).toMatchObject({ acked: 1 });
      next.send({ streamSeq: 7n });
      await expect(next.answer()).rejects.toThrow("stream_seq: expected 2, got 7");
    }
  });
});
