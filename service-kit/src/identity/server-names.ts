import { isIP } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";
import { listSetting, type Setting } from "../config.ts";

/** What a machine knows of itself. */
export interface MachineNames {
  readonly hostname: string;
  /** As os.networkInterfaces() gives them. */
  readonly interfaces: NodeJS.Dict<readonly Pick<NetworkInterfaceInfo, "address">[]>;
}

/** Machines with many containers have an interface for each; agents dial one of the first. */
const MAX_INTERFACE_ADDRESSES = 100;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;
const WILDCARDS = new Set(["0.0.0.0", "::", ""]);
const DNS_NAME = /^(\*\.)?[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/;

/** Whether only this machine can reach a listener on the address. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** Whether a text can stand in a certificate as the name or address of a server. */
export function isServerName(text: string): boolean {
  return isIP(text) !== 0 || DNS_NAME.test(text);
}

/** Comma-separated names and addresses of a server, for its certificate. */
export function serverNamesSetting(
  described: Pick<Setting<readonly string[]>, "env" | "doc">,
): Setting<readonly string[]> {
  const list = listSetting({ ...described, fallback: [] });
  return {
    ...list,
    read: (text) => {
      const names = list.read(text);
      const bad = names.find((name) => !isServerName(name));
      if (bad === undefined) return names;
      throw new Error(`expected host names and IP addresses, got ${JSON.stringify(bad)}`);
    },
  };
}

/**
 * Names and addresses of a server's certificate: those given, localhost, the host name and the
 * machine's addresses. Left out: wildcards, link-local IPv6 addresses (they need a zone to be
 * dialled) and whatever is no name.
 */
export function serverNames(given: readonly string[], machine: MachineNames): readonly string[] {
  const addresses = Object.values(machine.interfaces)
    .flatMap((list) => list ?? [])
    .map(({ address }) => address)
    .filter((address) => !/^fe[89ab]/i.test(address))
    .slice(0, MAX_INTERFACE_ADDRESSES);
  const all = [...given, "localhost", "127.0.0.1", "::1", machine.hostname, ...addresses];
  return [...new Set(all)].filter((name) => !WILDCARDS.has(name) && isServerName(name));
}
