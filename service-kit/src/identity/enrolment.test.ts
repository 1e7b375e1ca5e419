import { beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../clock.ts";
import type { LogFields, Logger } from "../log.ts";
import { silentLogger } from "../log.ts";
import type { DocumentStore } from "../store/document-store.ts";
import { openSqliteDocumentStore } from "../store/sqlite-document-store.ts";
import { type Enrolment, openEnrolment } from "./enrolment.ts";
import type { EnrolmentOptions } from "./enrolment-options.ts";
import { formatToken, newSecret, parseToken, sha256 } from "./enrolment-token.ts";

const HOUR_MS = 3_600_000;
const CLUSTER = { subjectId: "berlin", identity: "process:m1:d1" };
const LOCAL = formatToken({ secret: "l".repeat(43) });

let wallMs: number;
let store: DocumentStore;
let warnings: { readonly message: string; readonly fields: LogFields | undefined }[];
const clock: Clock = { nowMs: () => 0, timestamp: () => new Date(wallMs).toISOString() };
const logger: Logger = {
  ...silentLogger,
  warn: (message, fields) => {
    warnings.push({ message, fields });
  },
};

beforeEach(() => {
  wallMs = Date.parse("2026-01-01T00:00:00Z");
  warnings = [];
  store = openSqliteDocumentStore(":memory:", clock);
});

function open(
  options: Partial<Pick<EnrolmentOptions, "localToken" | "caPin" | "onSecondRefused">> = {},
): Promise<Enrolment> {
  return openEnrolment({ store, orgId: "org-a", clock, logger, subject: "cluster", ...options });
}

/** An agent's own key with what it shows. */
function aKey() {
  const key = newSecret();
  return { key, keySha256: sha256(key), authorization: `Bearer ${key}` };
}

const bearer = (token: string) => `Bearer ${token}`;

describe("enrolment", () => {
  it("spends a token for a key that then speaks for the subject", async () => {
    const enrolment = await open();
    const { token, record } = await enrolment.createToken({});
    const own = aKey();
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    expect(enrolment.authenticate(own)).toEqual({
      orgId: "org-a",
      role: "agent",
      agent: { id: "berlin", identity: "process:m1:d1" },
    });
    expect(enrolment.bindings()).toEqual([
      { ...CLUSTER, enrolledAt: "2026-01-01T00:00:00.000Z", tokenId: record.id },
    ]);
    expect(await enrolment.listTokens()).toEqual([{ ...record, uses: 1, subjectId: "berlin" }]);
  });

  it("keeps neither keys nor secrets, and knows both again after a restart", async () => {
    const enrolment = await open();
    const { token } = await enrolment.createToken({ maxUses: 0 });
    const own = aKey();
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    const kept = JSON.stringify([
      await store.list({ orgId: "org-a", collection: "enrolment_tokens" }),
      await store.list({ orgId: "org-a", collection: "enrolment_bindings" }),
    ]);
    expect(kept).toContain(Buffer.from(own.keySha256).toString("hex"));
    expect(kept).not.toContain(own.key);
    expect(kept).not.toContain(parseToken(token)?.secret);
    const again = await open();
    expect(again.authenticate(own).agent?.id).toBe("berlin");
    await again.enrol(bearer(token), { subjectId: "paris", identity: "i2", ...aKey() });
  });

  it("answers the same for the same token, subject and key, also when the token is spent or old", async () => {
    const enrolment = await open();
    const { token } = await enrolment.createToken({ ttlMs: HOUR_MS });
    const own = aKey();
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    wallMs += 2 * HOUR_MS;
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    expect((await enrolment.listTokens())[0]?.uses).toBe(1);
  });

  it("spends nothing when a bound agent enrols its key again with another token", async () => {
    const enrolment = await open({ localToken: LOCAL });
    const own = aKey();
    await enrolment.enrol(bearer(LOCAL), { ...CLUSTER, ...own });
    const { token } = await enrolment.createToken({});
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    expect((await enrolment.listTokens())[0]?.uses).toBe(0);
    expect(enrolment.authenticate(own).agent?.id).toBe("berlin");
    expect(warnings).toEqual([]);
  });

  it("lets an agent that lost its state bind a new key with a fresh token; the old key dies at once", async () => {
    const enrolment = await open();
    const [lost, made] = [aKey(), aKey()];
    const first = await enrolment.createToken({});
    await enrolment.enrol(bearer(first.token), { ...CLUSTER, ...lost });
    await expect(enrolment.enrol(bearer(first.token), { ...CLUSTER, ...made })).rejects.toThrow(
      /^authorization: this enrolment token is spent; make one with `berth token create`$/,
    );
    const second = await enrolment.createToken({ subjectId: "berlin" });
    await enrolment.enrol(bearer(second.token), { ...CLUSTER, ...made });
    expect(enrolment.authenticate(made).agent?.id).toBe("berlin");
    expect(() => enrolment.authenticate(lost)).toThrow(/is not enrolled/);
    expect(warnings.map(({ message }) => message)).toEqual([
      "cluster enrolled again; its old key has ended",
    ]);
  });

  it("binds no new key to a bound id by a token that was made for whoever comes first", async () => {
    const enrolment = await open();
    const own = aKey();
    const first = await enrolment.createToken({});
    await enrolment.enrol(bearer(first.token), { ...CLUSTER, ...own });
    const second = await enrolment.createToken({});
    const thief = enrolment.enrol(bearer(second.token), { ...CLUSTER, ...aKey() });
    await expect(thief).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
    expect(enrolment.authenticate(own).agent?.id).toBe("berlin");
    expect((await enrolment.listTokens()).map(({ uses }) => uses).sort()).toEqual([0, 1]);
  });

  it("refuses another identity under a bound id, tells it, and says so in the log", async () => {
    const told: string[] = [];
    const onSecondRefused = (subjectId: string, why: string) => told.push(`${subjectId}: ${why}`);
    const enrolment = await open({ localToken: LOCAL, onSecondRefused });
    const own = aKey();
    await enrolment.enrol(bearer(LOCAL), { ...CLUSTER, ...own });
    const second = enrolment.enrol(bearer(LOCAL), { ...CLUSTER, identity: "i2", ...aKey() });
    await expect(second).rejects.toMatchObject({ reason: "ALREADY_EXISTS" });
    expect(warnings).toEqual([
      {
        message: "a second cluster claims the id of the first",
        fields: { subject_id: "berlin", bound_identity: "process:m1:d1", claimed_identity: "i2" },
      },
    ]);
    expect(told).toEqual([
      expect.stringMatching(/^berlin: subject_id: berlin is bound to another/),
    ]);
    expect(enrolment.authenticate(own).agent?.identity).toBe("process:m1:d1");
  });

  it("knows a token that was made for a subject, as long as it can bind it", async () => {
    const enrolment = await open({ localToken: LOCAL });
    const own = await enrolment.createToken({ subjectId: "berlin" });
    const anybody = await enrolment.createToken({});
    const isMade = (token: string) => enrolment.isMadeFor(bearer(token), "berlin");
    expect([own.token, anybody.token, LOCAL].map(isMade)).toEqual([true, false, false]);
    expect(enrolment.isMadeFor(bearer(own.token), "paris")).toBe(false);
    await enrolment.enrol(bearer(own.token), { ...CLUSTER, ...aKey() });
    expect(isMade(own.token)).toBe(false);
    expect(enrolment.isMadeFor(undefined, "berlin")).toBe(false);
  });

  it("lets one of two enrolments at once win, and keeps nothing of the other", async () => {
    const enrolment = await open();
    const { token } = await enrolment.createToken({});
    const keys = [aKey(), aKey()];
    const ends = await Promise.allSettled(
      keys.map((own, i) =>
        enrolment.enrol(bearer(token), { subjectId: `c${i}`, identity: `i${i}`, ...own }),
      ),
    );
    expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(enrolment.bindings()).toHaveLength(1);
    expect((await open()).bindings()).toEqual(enrolment.bindings());
  });

  it("keeps a binding and the spending of its token together when the store fails", async () => {
    const enrolment = await open();
    const { token } = await enrolment.createToken({});
    const apply = store.apply.bind(store);
    store.apply = () => Promise.reject(new Error("disk full"));
    const own = aKey();
    await expect(enrolment.enrol(bearer(token), { ...CLUSTER, ...own })).rejects.toThrow(
      "disk full",
    );
    expect(enrolment.bindings()).toEqual([]);
    expect(() => enrolment.authenticate(own)).toThrow(/is not enrolled/);
    store.apply = apply;
    await enrolment.enrol(bearer(token), { ...CLUSTER, ...own });
    expect(enrolment.authenticate(own).agent?.id).toBe("berlin");
  });

  it("takes any number of subjects with the supervisor's token, years later too", async () => {
    const enrolment = await open({ localToken: LOCAL });
    wallMs += 1_000 * 24 * HOUR_MS;
    for (const subjectId of ["a", "b", "c"]) {
      await enrolment.enrol(bearer(LOCAL), { subjectId, identity: subjectId, ...aKey() });
    }
    expect(enrolment.bindings().map(({ tokenId }) => tokenId)).toEqual(["local", "local", "local"]);
    expect(await enrolment.listTokens()).toEqual([]);
  });

  it("refuses a key that is another subject's", async () => {
    const enrolment = await open({ localToken: LOCAL });
    const own = aKey();
    await enrolment.enrol(bearer(LOCAL), { ...CLUSTER, ...own });
    const copy = enrolment.enrol(bearer(LOCAL), { subjectId: "b", identity: "i2", ...own });
    await expect(copy).rejects.toThrow(/^key_sha256: this key is another cluster's/);
  });
});

describe("a refused enrolment", () => {
  const asked = { ...CLUSTER, ...aKey() };

  it.each([undefined, "", "Bearer x", `Basic ${"s".repeat(43)}`])(
    "names the header %j",
    async (header) => {
      const refused = (await open()).enrol(header, asked);
      await expect(refused).rejects.toMatchObject({
        reason: "UNAUTHENTICATED",
        message: expect.stringMatching(/^authorization: expected Bearer and an enrolment token/),
      });
    },
  );

  it("says that a token is unknown, revoked, expired or for another", async () => {
    const enrolment = await open();
    const refusal = (token: string) =>
      enrolment.enrol(bearer(token), asked).then(
        () => "enrolled",
        (thrown) => `${thrown.reason} ${thrown.message}`,
      );
    expect(await refusal(LOCAL)).toMatch(
      /^UNAUTHENTICATED authorization: .* not known or was revoked/,
    );
    const revoked = await enrolment.createToken({});
    await enrolment.revokeToken(revoked.record.id);
    expect(await refusal(revoked.token)).toMatch(/^UNAUTHENTICATED .* was revoked/);
    const other = await enrolment.createToken({ subjectId: "paris" });
    expect(await refusal(other.token)).toBe(
      "PERMISSION_DENIED subject_id: this enrolment token is for another cluster; make one for berlin",
    );
    const old = await enrolment.createToken({ ttlMs: HOUR_MS });
    wallMs += HOUR_MS;
    expect(await refusal(old.token)).toMatch(
      /^UNAUTHENTICATED .* has expired on 2026-01-01T01:00:00.000Z; make one/,
    );
    expect(enrolment.bindings()).toEqual([]);
  });

  it.each([
    ["subject_id", { subjectId: "" }],
    ["subject_id", { subjectId: "a/b" }],
    ["subject_id", { subjectId: "x".repeat(254) }],
    ["identity", { identity: "" }],
    ["identity", { identity: "x".repeat(513) }],
    ["key_sha256", { keySha256: new Uint8Array(31) }],
  ])("names the field %s of %j", async (field, wrong) => {
    const refused = (await open({ localToken: LOCAL })).enrol(bearer(LOCAL), {
      ...asked,
      ...wrong,
    });
    await expect(refused).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: expect.stringMatching(new RegExp(`^${field}: expected`)),
    });
  });

  it("names the setting of a malformed token of the supervisor", async () => {
    await expect(open({ localToken: "sesame" })).rejects.toThrow(/^BERTH_LOCAL_TOKEN: expected/);
  });
});

describe("tokens", () => {
  it("live a day by default, carry the pin, and count the keys that they bind", async () => {
    const enrolment = await open({ caPin: "p".repeat(43) });
    const { token, record } = await enrolment.createToken({ maxUses: 2, label: "rack 4" });
    expect(parseToken(token)?.caPin).toBe("p".repeat(43));
    expect(record).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f]{10}$/),
      label: "rack 4",
      maxUses: 2,
      uses: 0,
      createdAt: "2026-01-01T00:00:00.000Z",
      expiresAt: "2026-01-02T00:00:00.000Z",
    });
    expect(record).not.toHaveProperty("secretSha256");
    for (const subjectId of ["a", "b"]) {
      await enrolment.enrol(bearer(token), { subjectId, identity: subjectId, ...aKey() });
    }
    const third = enrolment.enrol(bearer(token), { subjectId: "c", identity: "c", ...aKey() });
    await expect(third).rejects.toThrow(/is spent/);
  });

  it.each([
    ["subject_id", { subjectId: "a b" }],
    ["ttl_ms", { ttlMs: 0 }],
    ["ttl_ms", { ttlMs: 91 * 24 * HOUR_MS }],
    ["ttl_ms", { ttlMs: Number.NaN }],
    ["max_uses", { maxUses: -1 }],
    ["max_uses", { maxUses: 1.5 }],
    ["label", { label: "" }],
    ["label", { label: "x".repeat(201) }],
  ])("are refused with the field %s for %j", async (field, request) => {
    await expect((await open()).createToken(request)).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: expect.stringMatching(new RegExp(`^${field}: expected`)),
    });
  });

  it("give way when they are 10,000 and useless, and are refused when they are 10,000 and of use", async () => {
    const row = (i: number) => ({
      kind: "insert" as const,
      key: { orgId: "org-a", collection: "enrolment_tokens", id: `t${i}` },
      body: {
        id: `t${i}`,
        maxUses: 1,
        uses: 0,
        createdAt: "2026-01-01T00:00:00.000Z",
        expiresAt: "2026-01-01T01:00:00.000Z",
        secretSha256: `hash ${i}`,
      },
    });
    await store.apply(Array.from({ length: 10_000 }, (_, i) => row(i)));
    const enrolment = await open();
    await expect(enrolment.createToken({})).rejects.toMatchObject({ reason: "OVERLOADED" });
    wallMs += 2 * HOUR_MS;
    await enrolment.createToken({});
    expect(await enrolment.listTokens()).toHaveLength(1);
  });

  it("are not there to be revoked twice", async () => {
    const enrolment = await open();
    const { record } = await enrolment.createToken({});
    await enrolment.revokeToken(record.id);
    await expect(enrolment.revokeToken(record.id)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });
});

describe("forget", () => {
  it("frees the id for another identity and ends the key, after a restart too", async () => {
    const enrolment = await open({ localToken: LOCAL });
    const own = aKey();
    await enrolment.enrol(bearer(LOCAL), { ...CLUSTER, ...own });
    expect(await enrolment.forget("berlin")).toBe(true);
    expect(await enrolment.forget("berlin")).toBe(false);
    expect(() => enrolment.authenticate(own)).toThrow(/is not enrolled/);
    const again = await open({ localToken: LOCAL });
    expect(() => again.authenticate(own)).toThrow(/is not enrolled/);
    await again.enrol(bearer(LOCAL), { ...CLUSTER, identity: "i2", ...aKey() });
  });
});

describe("authenticate", () => {
  it.each([undefined, "", "Bearer", "Bearer sesame"])(
    "refuses the header %j",
    async (authorization) => {
      const enrolment = await open({ localToken: LOCAL });
      expect(() => enrolment.authenticate({ authorization })).toThrow(
        /^authorization: expected Bearer and the agent's key$/,
      );
    },
  );

  it("takes an enrolment token for no key, and says what to do", async () => {
    const enrolment = await open({ localToken: LOCAL });
    expect(() => enrolment.authenticate({ authorization: bearer(LOCAL) })).toThrow(
      expect.objectContaining({
        reason: "UNAUTHENTICATED",
        message: expect.stringMatching(/enrol with a token of `berth token create`$/),
      }),
    );
  });
});
