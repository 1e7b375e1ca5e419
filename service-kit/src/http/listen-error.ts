import { BerthError } from "../errors.ts";

/** Where a server listens, and which settings say so. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** Environment variable to name when the port is taken: "BERTH_AGENT_PORT". */
  readonly setting: string;
  /** Environment variable to name when the host is none to listen on: "BERTH_AGENT_HOST". */
  readonly hostSetting?: string;
}

/** Codes of `listen` and of its look-up that tell of the host, whatever the port. */
const HOST_ERRORS: readonly unknown[] = [
  "EADDRNOTAVAIL",
  "EAFNOSUPPORT",
  "EAI_AGAIN",
  "EINVAL",
  "ENOTFOUND",
];

/** Turns an error of `listen` into one that names the address and the setting to change. */
export function listenError(cause: unknown, address: ListenAddress): BerthError {
  const { host, hostSetting, port, setting } = address;
  const code = (cause as { code?: unknown } | null)?.code;
  if (HOST_ERRORS.includes(code)) {
    const change = hostSetting === undefined ? "" : `; set ${hostSetting} to another one`;
    const message = `${JSON.stringify(host)} is no host to listen on (${code}): expected an address or a host name of this machine${change}`;
    return new BerthError("UNAVAILABLE", message, { cause });
  }
  const why =
    code === "EADDRINUSE"
      ? "is taken by another program"
      : `cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`;
  const message = `port ${port} on ${host} ${why}; set ${setting} to another port`;
  return new BerthError("UNAVAILABLE", message, { cause });
}
