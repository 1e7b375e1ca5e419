import { gzipSync } from "node:zlib";
import { StateRequestSchema } from "@berth/proto";
import { newSecret } from "@berth/service-kit";
import { startDelayProxy } from "@berth/service-kit/testing";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { afterEach, expect, it } from "vitest";
import { entry, TestAgent } from "../testing/agents.ts";
import { useComposedFleets } from "../testing/composed-fleet.ts";
import { aDocument } from "../testing/documents.ts";

const ORG = "default_org";
const MEGABYTE = 1024 * 1024;

const open = useComposedFleets();
const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A fleet with an agent that is enrolled, and where the agent dials. */
async function enrolled() {
  const composed = await open();
  const { token } = await composed.fleet.enrolment.createToken({});
  const { key, enrol } = composed.newAgent("c1", newSecret());
  await enrol(token);
  return { composed, key };
}

function dial(url: string, key: string, options = {}): TestAgent {
  const agent = new TestAgent(url, "c1", key, options);
  cleanups.push(() => agent.close());
  return agent;
}

const health = ({ fleet }: Awaited<ReturnType<typeof open>>) =>
  fleet.agents.sessions.views(ORG)[0]?.health;

it("takes a document of 4 MB in within seconds at 100 ms each way, also from an agent that does not compress", async () => {
  const { composed, key } = await enrolled();
  const targetPort = Number(new URL(composed.url).port);
  const cleanup = { add: (task: () => unknown) => cleanups.push(task) };
  const port = await startDelayProxy(cleanup, { targetPort, delayMs: 100 });
  const state = await dial(`http://127.0.0.1:${port}`, key).open();
  await state.admitted();
  const document = { ...aDocument("c1"), filling: "x".repeat(4 * MEGABYTE) };
  const begunAt = performance.now();
  state.send({ snapshot: true, snapshotEnd: true, entries: [entry("cluster", 1, document)] });
  await state.answer();
  expect(performance.now() - begunAt).toBeLessThan(12_000);
  expect(health(composed)).toBe("live");
}, 30_000);

it("takes a compressed message in, and refuses one that is too large when it is not compressed any more", async () => {
  const { composed, key } = await enrolled();
  const options = { sendCompression: compressionGzip, compressMinBytes: 64 * 1024 };
  const state = await dial(composed.url, key, options).open();
  await state.admitted();
  const sized = (megabytes: number) => [
    entry("cluster", megabytes, { ...aDocument("c1"), filling: "x".repeat(megabytes * MEGABYTE) }),
  ];
  state.send({ snapshot: true, snapshotEnd: true, entries: sized(12) });
  await state.answer();
  expect(health(composed)).toBe("live");
  const bomb = create(StateRequestSchema, { sessionId: state.sessionId, entries: sized(20) });
  expect(gzipSync(toBinary(StateRequestSchema, bomb)).byteLength).toBeLessThan(MEGABYTE);
  state.send({ entries: bomb.entries });
  await expect(state.answer()).rejects.toSatisfy(
    (thrown) => thrown instanceof ConnectError && thrown.code === Code.ResourceExhausted,
  );
}, 30_000);

it("refuses a compressed registration that is too large when it is not compressed any more", async () => {
  const { composed, key } = await enrolled();
  const options = { sendCompression: compressionGzip, compressMinBytes: 1 };
  const call = dial(composed.url, key, options).register({ knownStoreId: "x".repeat(MEGABYTE) });
  await expect(call).rejects.toSatisfy(
    (thrown) => thrown instanceof ConnectError && thrown.code === Code.ResourceExhausted,
  );
});
