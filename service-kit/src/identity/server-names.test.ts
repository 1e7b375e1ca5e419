import { expect, it } from "vitest";
import { isLoopback, isServerName, serverNames, serverNamesSetting } from "./server-names.ts";

it("names a machine by what is given, its host name and its addresses, without wildcards", () => {
  const interfaces = {
    lo: [{ address: "127.0.0.1" }, { address: "::1" }],
    eth0: [{ address: "10.0.0.5" }, { address: "fe80::1" }, { address: "2001:db8::5" }],
  };
  const names = serverNames(["berth.example.org", "0.0.0.0", "10.0.0.5"], {
    hostname: "gpu-7",
    interfaces,
  });
  expect(names).toEqual([
    "berth.example.org",
    "10.0.0.5",
    "localhost",
    "127.0.0.1",
    "::1",
    "gpu-7",
    "2001:db8::5",
  ]);
});

it("leaves out host names that cannot stand in a certificate", () => {
  expect(serverNames([], { hostname: "bürö", interfaces: {} })).not.toContain("bürö");
});

it("bounds the addresses of a machine with many containers", () => {
  const addresses = Array.from({ length: 500 }, (_, i) => ({
    address: `10.1.${i >> 8}.${i & 255}`,
  }));
  expect(serverNames([], { hostname: "h", interfaces: { veth: addresses } })).toHaveLength(104);
});

it.each([
  ["127.0.0.1", true],
  ["127.8.8.8", true],
  ["::1", true],
  ["localhost", true],
  ["0.0.0.0", false],
  ["::", false],
  ["::ffff:127.0.0.1", false],
  ["127.0.0.1.example.org", false],
  ["10.0.0.1", false],
])("tells of %s whether only this machine reaches it: %s", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});

it.each(["a b", "http://x", "x/y", "-x", "", "é"])("finds no server's name in %j", (text) => {
  expect(isServerName(text)).toBe(false);
});

it("refuses a list with something else than names", () => {
  const setting = serverNamesSetting({ env: "BERTH_AGENT_NAMES", doc: "names" });
  expect(setting.read("a.example.org, 10.0.0.1")).toEqual(["a.example.org", "10.0.0.1"]);
  expect(() => setting.read("a,https://b")).toThrow(
    'expected host names and IP addresses, got "https://b"',
  );
});
