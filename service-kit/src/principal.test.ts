import { describe, expect, it } from "vitest";
import { loopbackAuthenticator } from "./principal.ts";

describe("loopbackAuthenticator", () => {
  it("makes every caller an administrator of the one org", () => {
    expect(loopbackAuthenticator("org-a")({})).toEqual({ orgId: "org-a", role: "admin" });
  });
});
