import { describe, expect, it } from "vitest";
import { loopbackAuthenticator, tokenAuthenticator } from "./principal.ts";

describe("tokenAuthenticator", () => {
  const authenticate = tokenAuthenticator("org-a", "s3cret-☃");

  it("lets the holder of the token in, as an agent of its org", () => {
    expect(authenticate({ authorization: "Bearer s3cret-☃" })).toEqual({
      orgId: "org-a",
      role: "agent",
    });
  });

  it.each([
    undefined,
    "",
    "Bearer",
    "Bearer ",
    "s3cret-☃",
    "Bearer s3cret",
    "Bearer s3cret-☃x",
    "Bearer s3cret-\u2604",
    " Bearer s3cret-☃",
    "Basic s3cret-☃",
  ])("refuses %j without saying what was close", (authorization) => {
    expect(() => authenticate({ authorization })).toThrow(
      expect.objectContaining({
        reason: "UNAUTHENTICATED",
        message: "authorization: expected a valid bearer token",
      }),
    );
  });

  it("cannot be made with an empty token, which everybody holds", () => {
    expect(() => tokenAuthenticator("org-a", "")).toThrow("token: expected a non-empty text");
  });
});

describe("loopbackAuthenticator", () => {
  it("makes every caller an administrator of the one org", () => {
    expect(loopbackAuthenticator("org-a")({})).toEqual({ orgId: "org-a", role: "admin" });
  });
});
