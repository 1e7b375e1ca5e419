import { usageError } from "../cli-error.ts";

/** What `berth token create` was asked for. */
export interface TokenFlags {
  readonly cluster?: string;
  readonly node?: string | true;
  readonly ttl: string;
  readonly uses: string;
  readonly label?: string;
}

const UNIT_S = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;
const MAX_TTL_S = 90 * 86_400;

/** Body of `POST /tokens`. Throws a usage error that names the option. */
export function tokenBody(flags: TokenFlags): Record<string, unknown> {
  const { cluster, label, node } = flags;
  if (cluster !== undefined && node !== undefined) {
    throw usageError("--cluster and --node exclude each other: expected one of them");
  }
  return {
    ...(cluster === undefined ? {} : { cluster_id: cluster }),
    ...(typeof node === "string" ? { node_id: node } : {}),
    ttl_s: seconds(flags.ttl),
    max_uses: uses(flags.uses),
    ...(label === undefined ? {} : { label }),
  };
}

function seconds(text: string): number {
  const [, digits, unit] = /^(\d{1,8})([smhd])$/.exec(text) ?? [];
  const value = Number(digits) * UNIT_S[(unit ?? "s") as keyof typeof UNIT_S];
  if (value >= 1 && value <= MAX_TTL_S) return value;
  throw usageError(
    `--ttl ${JSON.stringify(text)}: expected a time such as 90s, 30m, 24h or 7d, at most 90d`,
  );
}

function uses(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (value >= 0 && value <= 10_000) return value;
  throw usageError(`--uses ${JSON.stringify(text)}: expected a whole number from 0 (any) to 10000`);
}
