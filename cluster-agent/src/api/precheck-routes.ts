import { BerthError, type createHttpServer, parse } from "@berth/service-kit";
import { Type } from "typebox";
import { HOOKS, isHook } from "../prechecks/hooks.ts";
import { type MapEntry, unknownHooks } from "../prechecks/policy-map.ts";
import type { PreChecker } from "../prechecks/pre-checker.ts";
import type { VerdictLog, VerdictRecord } from "../prechecks/verdict-log.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

const ListParameters = Type.Object(
  {
    hook: Type.Optional(Type.String()),
    limit: Type.Optional(Type.String({ pattern: "^\\d{1,4}$" })),
  },
  { additionalProperties: false },
);
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

/** What {@link addPrecheckRoutes} serves from. */
export interface PrecheckRoutesOptions {
  readonly prechecks: Pick<PreChecker, "entries">;
  readonly verdicts: Pick<VerdictLog, "list">;
  /** `config.actionsPolicyMap` as it is now. */
  readonly policyMap: () => unknown;
}

/**
 * Pre-checks: `GET /prechecks` (which policy governs which hook, and keys of the map that name none), and
 * `GET /prechecks/verdicts` (`hook`, `limit`, 0 = 1,000; the newest first).
 */
export function addPrecheckRoutes(
  server: HttpServer,
  { prechecks, verdicts, policyMap }: PrecheckRoutesOptions,
): void {
  server.get("/prechecks", async () => ({
    success: true,
    data: {
      hooks: Object.fromEntries([...prechecks.entries()].map(([hook, one]) => [hook, shown(one)])),
      unknown_keys: unknownHooks(policyMap()),
    },
  }));
  server.get("/prechecks/verdicts", async ({ query }) => {
    const { hook, limit } = parse(ListParameters, query);
    if (hook !== undefined && !isHook(hook)) {
      throw new BerthError("INVALID_ARGUMENT", `hook: expected one of ${HOOKS.join(", ")}`);
    }
    const asked = limit === undefined ? DEFAULT_LIMIT : Number(limit);
    const most = asked === 0 ? MAX_LIMIT : Math.min(asked, MAX_LIMIT);
    const found = await verdicts.list({ limit: most, hook });
    return { success: true, data: found.map(verdictDocument) };
  });
}

function shown(entry: MapEntry): object | null {
  if (entry.kind === "none") return null;
  if (entry.kind === "unreadable") return { error: entry.why };
  const { policyRuleUri, mode, parameters, settings } = entry.policy;
  return { policy_rule_uri: policyRuleUri, mode, parameters, settings };
}

function verdictDocument(record: VerdictRecord): object {
  const { id, hook, about, policyRuleUri, mode, verdict, why, isChanged, at, times } = record;
  return {
    ...{ id, hook, about, policy_rule_uri: policyRuleUri, mode, verdict },
    ...(why === undefined ? {} : { why }),
    ...{ changed: isChanged, at, times, last_at: record.lastAt },
  };
}
