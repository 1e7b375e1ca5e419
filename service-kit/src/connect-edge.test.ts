import { expect, it } from "vitest";
import { type Clock, systemClock } from "./clock.ts";
import { knownCaller, unaryPathsOf } from "./connect-edge.ts";
import { openEnrolment } from "./identity/enrolment.ts";
import { newSecret, sha256 } from "./identity/enrolment-token.ts";
import { silentLogger } from "./log.ts";
import { openSqliteDocumentStore } from "./store/sqlite-document-store.ts";

let nowMs = Date.parse("2026-01-01T00:00:00Z");
const clock: Clock = { ...systemClock, timestamp: () => new Date(nowMs).toISOString() };

function opened() {
  return openEnrolment({
    store: openSqliteDocumentStore(":memory:", systemClock),
    orgId: "org-a",
    clock,
    logger: silentLogger,
    subject: "cluster",
  });
}

it("a caller is known by its own key or by an enrolment token, until they end", async () => {
  const enrolment = await opened();
  const { record, token } = await enrolment.createToken({ maxUses: 2 });
  const key = newSecret();
  const isKnown = knownCaller(enrolment);
  const known = () => [isKnown(`Bearer ${key}`), isKnown(`Bearer ${token}`)];
  expect(known()).toEqual([false, true]);
  const asked = { subjectId: "berlin", identity: "i", keySha256: sha256(key) };
  await enrolment.enrol(`Bearer ${token}`, asked);
  expect(known()).toEqual([true, true]);
  await enrolment.revokeToken(record.id);
  expect(known()).toEqual([true, false]);
  await enrolment.forget("berlin");
  expect(known()).toEqual([false, false]);
  for (const header of [undefined, "", "Bearer ", key, `Basic ${key}`]) {
    expect(isKnown(header)).toBe(false);
  }
});

it("a caller is not known by a token that is spent or has expired, though it may ask again with it", async () => {
  const enrolment = await opened();
  const isKnown = knownCaller(enrolment);
  const spent = await enrolment.createToken({});
  const asked = { subjectId: "berlin", identity: "i", keySha256: sha256(newSecret()) };
  await enrolment.enrol(`Bearer ${spent.token}`, asked);
  expect(isKnown(`Bearer ${spent.token}`)).toBe(false);
  await enrolment.enrol(`Bearer ${spent.token}`, asked);
  const short = await enrolment.createToken({ ttlMs: 60_000 });
  expect(isKnown(`Bearer ${short.token}`)).toBe(true);
  nowMs += 60_001;
  expect(isKnown(`Bearer ${short.token}`)).toBe(false);
});

it("what a guard fails at is not taken for an unknown caller", () => {
  const isKnown = knownCaller({
    authenticate: () => {
      throw new TypeError("a bug");
    },
    checkToken: () => {},
    hasUsableToken: () => true,
  });
  expect(() => isKnown("Bearer x")).toThrow("a bug");
});

it("the paths of calls that take one message are found by their kind", () => {
  const service = (typeName: string, ...kinds: readonly string[]) => ({
    typeName,
    methods: kinds.map((methodKind) => ({ name: `Call_${methodKind}`, methodKind })),
  });
  const all = ["unary", "server_streaming", "client_streaming", "bidi_streaming"];
  expect([...unaryPathsOf(service("berth.a.v1.A", ...all), service("b.B", "unary"))]).toEqual([
    "/berth.a.v1.A/Call_unary",
    "/berth.a.v1.A/Call_server_streaming",
    "/b.B/Call_unary",
  ]);
  expect(unaryPathsOf().size).toBe(0);
});
