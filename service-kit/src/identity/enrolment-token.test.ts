import { describe, expect, it } from "vitest";
import {
  bearerSecret,
  formatToken,
  isSecret,
  newSecret,
  parseToken,
  requireToken,
} from "./enrolment-token.ts";

const SECRET = "s".repeat(43);
const PIN = "p".repeat(43);

describe("parseToken", () => {
  it("reads what formatToken writes, with and without a pin", () => {
    expect(parseToken(formatToken({ secret: SECRET }))).toEqual({ secret: SECRET });
    const pinned = { secret: SECRET, caPin: PIN };
    expect(formatToken(pinned)).toBe(`berth1.${SECRET}.${PIN}`);
    expect(parseToken(` ${formatToken(pinned)}\n`)).toEqual(pinned);
  });

  it.each([
    "",
    SECRET,
    "berth1.",
    `berth2.${SECRET}`,
    `berth1.${SECRET}x`,
    `berth1.${SECRET}.`,
    `berth1.${SECRET}.${PIN}.${PIN}`,
    `berth1.${SECRET}.${PIN.slice(1)}`,
    `berth1.${"+".repeat(43)}`,
  ])("finds no token in %j", (text) => {
    expect(parseToken(text)).toBeUndefined();
  });
});

it("makes secrets of 256 bits that differ", () => {
  const [one, other] = [newSecret(), newSecret()];
  expect(isSecret(one)).toBe(true);
  expect(one).not.toBe(other);
});

it("names the setting of a malformed token and shows nothing of it", () => {
  const refused = () => requireToken("BERTH_ENROLMENT_TOKEN", "berth1.sesame");
  expect(refused).toThrow(/^BERTH_ENROLMENT_TOKEN: expected an enrolment token/);
  expect(refused).not.toThrow(/sesame/);
});

it.each([
  [`Bearer ${SECRET}`, SECRET],
  [`Bearer berth1.${SECRET}`, SECRET],
  [`Bearer berth1.${SECRET}.${PIN}`, SECRET],
  [`bearer ${SECRET}`, undefined],
  [`Bearer ${SECRET}x`, undefined],
  ["Bearer ", undefined],
  ["", undefined],
  [undefined, undefined],
])("finds in the header %j the secret %j", (header, secret) => {
  expect(bearerSecret(header)).toBe(secret);
});
