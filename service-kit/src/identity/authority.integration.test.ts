import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openAuthority } from "./authority.ts";
import { certificatePin } from "./pinned-ca.ts";

const DAY_MS = 86_400_000;
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-authority-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const file = (name: string) => path.join(directory, name);

describe("openAuthority", () => {
  it("makes a CA once, for this user only, and opens the same one again", async () => {
    const first = await openAuthority(directory);
    const again = await openAuthority(directory);
    expect(again).toMatchObject({ caPem: first.caPem, pin: first.pin });
    expect(certificatePin(first.caPem)).toBe(first.pin);
    expect(first.pin).toMatch(/^[A-Za-z0-9_-]{43}$/);
    for (const name of ["ca.pem", "ca.key"]) expect(statSync(file(name)).mode & 0o777).toBe(0o600);
    const ca = new X509Certificate(first.caPem);
    expect(ca.ca).toBe(true);
    expect(ca.subject).toMatch(/^CN=Berth [0-9a-f]{16}$/);
    expect(ca.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
    expect(ca.verify(ca.publicKey)).toBe(true);
    const years = (ca.validToDate.getTime() - Date.now()) / DAY_MS / 365;
    expect(years).toBeGreaterThan(9.9);
    expect(years).toBeLessThan(10.1);
  });

  it("issues certificates of 90 days for names and addresses, with the CA behind them", async () => {
    const authority = await openAuthority(directory);
    const names = ["gpu-7", "*.example.org", "10.0.0.5", "::1", "gpu-7"];
    const { cert, key, notAfter } = await authority.issue(names);
    const leaf = new X509Certificate(cert);
    expect(leaf.subjectAltName).toBe(
      "DNS:gpu-7, DNS:*.example.org, IP Address:10.0.0.5, IP Address:0:0:0:0:0:0:0:1",
    );
    expect(leaf.ca).toBe(false);
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(leaf.checkIssued(new X509Certificate(authority.caPem))).toBe(true);
    expect(leaf.verify(new X509Certificate(authority.caPem).publicKey)).toBe(true);
    expect(cert.endsWith(authority.caPem)).toBe(true);
    expect(key).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(Math.abs(notAfter.getTime() - Date.now() - 90 * DAY_MS)).toBeLessThan(60_000);
    expect(leaf.validFromDate.getTime()).toBeLessThan(Date.now());
  });

  it("refuses to issue for nobody", async () => {
    const authority = await openAuthority(directory);
    await expect(authority.issue([])).rejects.toMatchObject({ reason: "INVALID_ARGUMENT" });
  });

  it("begins anew after a crash between its two files", async () => {
    writeFileSync(file("ca.key"), "half a");
    const authority = await openAuthority(directory);
    expect((await openAuthority(directory)).pin).toBe(authority.pin);
    expect(readFileSync(file("ca.key"), "utf8")).toContain("PRIVATE KEY");
  });

  it.each([
    ["ca.pem", "is damaged"],
    ["ca.key", "is damaged"],
  ])("names %s when it %s", async (name, flaw) => {
    await openAuthority(directory);
    writeFileSync(file(name), "garbage");
    await expect(openAuthority(directory)).rejects.toThrow(`${file(name)} ${flaw}: restore it`);
  });

  it("names the key when it is missing or another's", async () => {
    await openAuthority(directory);
    rmSync(file("ca.key"));
    await expect(openAuthority(directory)).rejects.toThrow(`${file("ca.key")} is missing`);
    const other = path.join(directory, "other");
    await openAuthority(other);
    writeFileSync(file("ca.key"), readFileSync(path.join(other, "ca.key")));
    await expect(openAuthority(directory)).rejects.toThrow("is not the key of ca.pem");
  });

  it("names a directory that cannot be made", async () => {
    writeFileSync(file("taken"), "");
    const refused = openAuthority(path.join(directory, "taken", "below"));
    await expect(refused).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  });
});
