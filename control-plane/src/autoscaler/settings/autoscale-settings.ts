import { BerthError, type Clock, toNumber, typeName } from "@berth/service-kit";
import type { KeptDocuments } from "../../org/store/kept-documents.ts";
import type { OrgTransactions } from "../../org/store/org-transactions.ts";
import { type AutoscaleRules, mergePatch, readAutoscaleRules } from "./autoscale-rules.ts";
import { type SettingBody, type SettingVersion, VersionedSetting } from "./versioned-setting.ts";

/** What the autoscaler is told, all of it durable. */
export interface AutoscaleSettings {
  /** Free keys that reach the modules of workflows. Merged key by key; null takes a key away. */
  readonly config: VersionedSetting<SettingBody>;
  readonly rules: VersionedSetting<AutoscaleRules>;
  /** Seconds from one evaluation to the next. */
  readonly interval: VersionedSetting<number>;
  /** Takes what the store has. */
  reload(): Promise<void>;
}

/** Seconds from one evaluation to the next. */
const INTERVAL_SECONDS = { least: 1, most: 86_400, byDefault: 60 } as const;
const MAX_CONFIG = 64 * 1024;
const MAX_RULES = 1024 * 1024;

/** Opens the settings over a collection. */
export function openAutoscaleSettings(deps: {
  readonly documents: KeptDocuments<SettingVersion>;
  readonly transactions: OrgTransactions;
  readonly clock: Pick<Clock, "timestamp">;
}): AutoscaleSettings {
  return {
    config: new VersionedSetting({
      ...{ ...deps, name: "config", maxBytes: MAX_CONFIG, merged: mergedKeys },
      read: (body) => body,
    }),
    rules: new VersionedSetting({
      ...{ ...deps, name: "rules", maxBytes: MAX_RULES, merged: mergePatch },
      read: readAutoscaleRules,
    }),
    interval: new VersionedSetting({
      ...{ ...deps, name: "interval", maxBytes: MAX_CONFIG, merged: mergedKeys },
      read: ({ interval }) =>
        interval === undefined ? INTERVAL_SECONDS.byDefault : readInterval(interval),
    }),
    reload: () => deps.documents.reload(),
  };
}

/** Reads seconds from 1 to 86,400. INVALID_ARGUMENT. */
export function readInterval(value: unknown): number {
  const { least, most } = INTERVAL_SECONDS;
  const seconds = toNumber(value) ?? Number.NaN;
  if (seconds >= least && seconds <= most) return seconds;
  const got = Number.isNaN(seconds) ? typeName(value) : String(seconds);
  const message = `interval: expected a number of seconds from ${least} to ${most}, got ${got}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** What clients of the existing deployment know: keys are replaced one by one; here null takes one away. */
function mergedKeys(before: SettingBody, change: SettingBody): SettingBody {
  const after = { ...before, ...change };
  return Object.fromEntries(Object.entries(after).filter(([, value]) => value !== null));
}
