import { expect, it } from "vitest";
import { checkSignature, signatureOf } from "./webhook-signature.ts";

const NOW_MS = 1_800_000_000_000;
const BODY = '{"subjects":[]}';
const check = (signature: string | undefined, more: object = {}) =>
  checkSignature({ signature, bodyText: BODY, secrets: ["old", "new"], nowMs: NOW_MS, ...more });

it("takes what was signed with any of the secrets, within five minutes", () => {
  for (const secret of ["old", "new"]) {
    expect(() => check(signatureOf(BODY, secret, NOW_MS))).not.toThrow();
    expect(() => check(signatureOf(BODY, secret, NOW_MS - 299_000))).not.toThrow();
  }
  expect(() => check(undefined, { secrets: [] })).not.toThrow();
});

it.each([
  ["nothing", undefined, /expected t=<seconds since 1970>,v1=/],
  ["another form", "sha256=abc", /expected t=/],
  ["another secret", signatureOf(BODY, "other", NOW_MS), /does not fit the body/],
  ["another body", signatureOf("{}", "new", NOW_MS), /does not fit the body/],
  ["an old time", signatureOf(BODY, "new", NOW_MS - 301_000), /more than 300 s off/],
  ["a time to come", signatureOf(BODY, "new", NOW_MS + 302_000), /more than 300 s off/],
  [
    "the time of another",
    signatureOf(BODY, "new", NOW_MS).replace(/t=\d+/, `t=${NOW_MS / 1_000 + 1}`),
    /does not fit/,
  ],
])("refuses %s", (_what, signature, message) => {
  expect(() => check(signature)).toThrow(
    expect.objectContaining({
      reason: "UNAUTHENTICATED",
      message: expect.stringMatching(message),
    }),
  );
});
