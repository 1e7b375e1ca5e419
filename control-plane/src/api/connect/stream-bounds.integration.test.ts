import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { EntrySchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { entry, StateStream, TestAgent } from "../../testing/agents.ts";
import { LinkServer } from "../../testing/link-server.ts";

let directory: string;
let server: LinkServer;
let agent: TestAgent;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-streams-"));
  server = new LinkServer(directory);
  await server.start();
  agent = new TestAgent(server.url);
});
afterEach(async () => {
  agent.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const refusedWith = (code: Code, text: string) => (thrown: unknown) =>
  thrown instanceof ConnectError && thrown.code === code && thrown.message.includes(text);
const gone = (key: string) => create(EntrySchema, { key, revision: 1n, deleted: true });

describe("a stream of telemetry", () => {
  it("ends when its first report has more keys than a cluster, though none of them is held", async () => {
    const { sessionId } = await agent.join();
    const report = agent.report(sessionId);
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
    const { sessionId } = await agent.join();
    const first = agent.report(sessionId);
    first.send([entry("metrics", 1, {}), gone(key)]);
    await expect(first.ended).rejects.toSatisfy(refusedWith(Code.InvalidArgument, message));
    const later = agent.report(sessionId);
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
    const state = await agent.open();
    await state.admitted();
    state.send({ snapshot: true, entries: [gone("cluster"), gone(key)] });
    await expect(state.answer()).rejects.toSatisfy(refusedWith(Code.InvalidArgument, message));
  });
});

describe("a second stream of a kind", () => {
  it("is taken in once the first has ended, and after one that was refused", async () => {
    const state = await agent.join();
    state.end();
    await expect(state.answer()).rejects.toThrow("the stream has ended");
    for (let n = 0; n < 3; n += 1) {
      const next = new StateStream(agent, state.sessionId);
      next.send({ streamSeq: 1n });
      expect(await next.answer()).toMatchObject({ acked: 1 });
      next.send({ streamSeq: 7n });
      await expect(next.answer()).rejects.toThrow("stream_seq: expected 2, got 7");
    }
  });
});
