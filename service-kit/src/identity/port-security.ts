import os from "node:os";
import type { ServerTls } from "../http/certificate-renewal.ts";
import { openAuthority } from "./authority.ts";
import { isLoopback, serverNames } from "./server-names.ts";

/** How the port of a program's own agents is protected. */
export interface PortSecurity {
  /** For the port's server; absent on loopback, where the port is cleartext. */
  readonly tls?: ServerTls;
  /** For enrolment tokens, with TLS. */
  readonly caPin?: string;
}

/** What {@link openPortSecurity} decides by. */
export interface PortSecurityOptions {
  /** Address that the port listens on. */
  readonly host: string;
  /** Directory of the program's own state; the CA's files are in it with TLS. */
  readonly directory: string;
  /** Names and addresses that agents dial, beyond what this machine knows of itself. */
  readonly names: readonly string[];
}

/**
 * Cleartext on loopback; beyond it TLS with the program's own CA. The certificate is made at start and
 * at each renewal, for the machine's addresses of that moment. Rejects as `openAuthority` does.
 */
export async function openPortSecurity(options: PortSecurityOptions): Promise<PortSecurity> {
  const { directory, host, names } = options;
  if (isLoopback(host)) return {};
  const authority = await openAuthority(directory);
  const certificate = () => {
    const machine = { hostname: os.hostname(), interfaces: os.networkInterfaces() };
    return authority.issue(serverNames([...names, host], machine));
  };
  return { tls: { certificate }, caPin: authority.pin };
}
