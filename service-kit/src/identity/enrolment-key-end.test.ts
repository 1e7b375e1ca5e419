import { expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { silentLogger } from "../log.ts";
import { openSqliteDocumentStore } from "../store/sqlite-document-store.ts";
import { openEnrolment } from "./enrolment.ts";
import { formatToken, newSecret, sha256 } from "./enrolment-token.ts";

const BERLIN = { subjectId: "berlin", identity: "process:m1:d1" };
const LOCAL = formatToken({ secret: "l".repeat(43) });
const BEARER = `Bearer ${LOCAL}`;

function aKey() {
  const key = newSecret();
  return { keySha256: sha256(key), authorization: `Bearer ${key}` };
}

async function opened() {
  const store = openSqliteDocumentStore(":memory:", systemClock);
  const shared = { store, orgId: "o", clock: systemClock, logger: silentLogger };
  const options = { ...shared, subject: "cluster", localToken: LOCAL };
  /** What a program that opens the store at this moment lets in: the durable state. */
  const durable = () => openEnrolment(options);
  const ended: string[] = [];
  /** Looks at the durable state at the moment of each call. */
  const seen: ReturnType<typeof durable>[] = [];
  const enrolment = await openEnrolment({
    ...options,
    onKeyEnded(subjectId) {
      ended.push(subjectId);
      seen.push(durable());
    },
  });
  return { store, enrolment, ended, seen };
}

it("tells once that a key has ended when another one took its place durably", async () => {
  const { enrolment, ended, seen } = await opened();
  const [lost, made] = [aKey(), aKey()];
  await enrolment.enrol(BEARER, { ...BERLIN, ...lost });
  await enrolment.enrol(BEARER, { ...BERLIN, ...lost });
  expect(ended).toEqual([]);
  await enrolment.enrol(BEARER, { ...BERLIN, ...made });
  await enrolment.enrol(BEARER, { ...BERLIN, ...made });
  expect(ended).toEqual(["berlin"]);
  const atThatMoment = await seen[0];
  expect(atThatMoment?.authenticate(made).agent?.id).toBe("berlin");
  expect(() => atThatMoment?.authenticate(lost)).toThrow("is not enrolled");
});

it("tells once that a key has ended when its subject was forgotten durably", async () => {
  const { enrolment, ended, seen } = await opened();
  const own = aKey();
  await enrolment.enrol(BEARER, { ...BERLIN, ...own });
  await enrolment.forget("paris");
  expect(ended).toEqual([]);
  await enrolment.forget("berlin");
  await enrolment.forget("berlin");
  expect(ended).toEqual(["berlin"]);
  expect((await seen[0])?.bindings()).toEqual([]);
});

it("tells of no key whose end was not written or was refused", async () => {
  const { enrolment, ended, store } = await opened();
  await enrolment.enrol(BEARER, { ...BERLIN, ...aKey() });
  const another = { ...BERLIN, identity: "another", ...aKey() };
  await expect(enrolment.enrol(BEARER, another)).rejects.toMatchObject({
    reason: "ALREADY_EXISTS",
  });
  store.apply = () => Promise.reject(new Error("disk full"));
  await expect(enrolment.enrol(BEARER, { ...BERLIN, ...aKey() })).rejects.toThrow("disk full");
  await expect(enrolment.forget("berlin")).rejects.toThrow("disk full");
  expect(ended).toEqual([]);
});
