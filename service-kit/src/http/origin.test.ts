import { describe, expect, it } from "vitest";
import { originRefusal } from "./origin.ts";

const rules = {
  allowedHosts: ["Ops.example.com"],
  allowedOrigins: ["https://ops.example.com/", "https://Other.example.com:8443"],
};

describe("originRefusal by host", () => {
  it.each([
    "localhost",
    "localhost:8000",
    "LOCALHOST:8000",
    "berth.localhost:8000",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.1.2.3:1",
    "[::1]",
    "[::1]:8000",
    "ops.example.com",
    "OPS.example.com:443",
  ])("lets %s pass", (host) => {
    expect(originRefusal({ host }, rules)).toBeUndefined();
  });

  it.each([
    undefined,
    "",
    " ",
    "evil.example.com",
    "evil.example.com:8000",
    "localhost.evil.com",
    "127.0.0.1.evil.com",
    "127.0.0.1.nip.io:8000",
    "evil-localhost",
    "x.ops.example.com",
    "ops.example.com.evil.com",
    "192.168.0.1:8000",
    "0.0.0.0:8000",
    "[::]",
    "[fe80::1]:8000",
    "::1",
    "localhost@evil.com",
    "localhost:8000@evil.com",
    "evil.com/localhost",
    "localhost:",
    "localhost:abc",
    "localhost:123456",
    "localhost:8000:8000",
    "localhost,evil.com",
    "localhost evil.com",
    "127.0.0.1\tevil.com",
    "[::1",
    "localhost\u0000",
  ])("refuses %j and names the setting", (host) => {
    expect(originRefusal({ host }, rules)).toBe(
      `host ${JSON.stringify(host ?? "")} is not allowed; add it to BERTH_ALLOWED_HOSTS`,
    );
  });
});

describe("originRefusal by origin", () => {
  const refusalOf = (origin: string | undefined) =>
    originRefusal({ host: "localhost:8000", origin }, rules);

  it.each([
    undefined,
    "http://localhost",
    "http://localhost:3000",
    "https://127.0.0.1:8443",
    "http://[::1]:8000",
    "http://dashboard.localhost",
    "https://ops.example.com",
    "https://other.example.com:8443",
  ])("lets %s pass", (origin) => {
    expect(refusalOf(origin)).toBeUndefined();
  });

  it.each([
    "",
    "null",
    "undefined",
    "https://evil.example.com",
    "http://localhost.evil.com",
    "http://localhost@evil.com",
    "http://localhost:8000@evil.com",
    "http://evil.com#@localhost",
    "http://evil.com/localhost",
    "http://evil.com?localhost",
    "http://evil.com\\@localhost.evil.com",
    "http://localhost, http://evil.com",
    "http://localhost,http://evil.com",
    "http://127.0.0.1.nip.io",
    "http://[::ffff:127.0.0.1]",
    "http://0.0.0.0",
    "http://ops.example.com",
    "https://ops.example.com:8443",
    "https://ops.example.com.evil.com",
    "file://localhost/",
    "ws://localhost",
    "chrome-extension://localhost",
    "javascript:alert(1)",
    "localhost",
    "//localhost",
  ])("refuses %j and names the setting", (origin) => {
    expect(refusalOf(origin)).toBe(
      `origin ${JSON.stringify(origin)} is not allowed; add it to BERTH_ALLOWED_ORIGINS`,
    );
  });

  it("does not let a good origin make up for a foreign host", () => {
    expect(originRefusal({ host: "evil.com", origin: "http://localhost" }, rules)).toMatch(/^host/);
  });
});
