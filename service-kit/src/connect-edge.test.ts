import { expect, it } from "vitest";
import { systemClock } from "./clock.ts";
import { knownCaller, unaryPathsOf } from "./connect-edge.ts";
import { openEnrolment } from "./identity/enrolment.ts";
import { newSecret, sha256 } from "./identity/enrolment-token.ts";
import { silentLogger } from "./log.ts";
import { openSqliteDocumentStore } from "./store/sqlite-document-store.ts";

it("a caller is known by its own key or by an enrolment token, until they end", async () => {
  const enrolment = await openEnrolment({
    store: openSqliteDocumentStore(":memory:", systemClock),
    orgId: "org-a",
    clock: systemClock,
    logger: silentLogger,
    subject: "cluster",
  });
  const { record, token } = await enrolment.createToken({});
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

it("what a guard fails at is not taken for an unknown caller", () => {
  const isKnown = knownCaller({
    authenticate: () => {
      throw new TypeError("a bug");
    },
    checkToken: () => {},
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
