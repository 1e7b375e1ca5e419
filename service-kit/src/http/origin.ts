import { BerthError } from "../errors.ts";

/** Which hosts and origins a listener answers to. */
export interface OriginRules {
  /** Host names (without port) beyond loopback that the `Host` header may carry. */
  readonly allowedHosts: readonly string[];
  /** Origins beyond loopback ones that browsers may call from: "https://ops.example.com". */
  readonly allowedOrigins: readonly string[];
}

/** The headers that are looked at. */
export interface OriginHeaders {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
}

const LOOPBACK = /^(localhost|[a-z0-9-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

/**
 * Why a request must be refused, or undefined when it may pass. Loopback is not trust: a page in the
 * user's browser can reach loopback ports, so a foreign `Host` (DNS rebinding) and a foreign `Origin`
 * (cross-site request, WebSocket hijacking) are refused. No `Origin` means no browser.
 */
export function originRefusal(headers: OriginHeaders, rules: OriginRules): string | undefined {
  const host = hostName(headers.host ?? "");
  if (host === undefined || !(LOOPBACK.test(host) || isListed(host, rules.allowedHosts))) {
    return `host ${JSON.stringify(headers.host ?? "")} is not allowed; add it to BERTH_ALLOWED_HOSTS`;
  }
  if (headers.origin === undefined) return undefined;
  if (isListed(headers.origin, rules.allowedOrigins.map(withoutSlash))) return undefined;
  const originHost = originHostName(headers.origin);
  if (originHost !== undefined && LOOPBACK.test(originHost)) return undefined;
  return `origin ${JSON.stringify(headers.origin)} is not allowed; add it to BERTH_ALLOWED_ORIGINS`;
}

/** Throws PERMISSION_DENIED with the {@link originRefusal}, INVALID_ARGUMENT when there is no host to look at. */
export function checkOrigin(headers: OriginHeaders, rules: OriginRules): void {
  if (headers.host === undefined) {
    throw new BerthError("INVALID_ARGUMENT", "host: required header is missing");
  }
  const refusal = originRefusal(headers, rules);
  if (refusal !== undefined) throw new BerthError("PERMISSION_DENIED", refusal);
}

function isListed(value: string, list: readonly string[]): boolean {
  return list.some((item) => item.toLowerCase() === value.toLowerCase());
}

/** People paste "https://ops.example.com/"; browsers never send the slash. */
function withoutSlash(origin: string): string {
  return origin.endsWith("/") ? origin.slice(0, -1) : origin;
}

function hostName(host: string): string | undefined {
  return /^(\[[0-9a-f:.]+\]|[^:[\]/@\s]+)(:\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase();
}

function originHostName(origin: string): string | undefined {
  const url = URL.parse(origin);
  return url !== null && /^https?:$/.test(url.protocol) ? url.hostname : undefined;
}
