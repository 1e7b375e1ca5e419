import { cellText } from "./views.ts";

const NOTHING = "-";
const MIB_PER_GIB = 1024;
const GIB_PER_TIB = 1024;
/** GiB from which TiB are easier to read. */
const TIB_FROM_GIB = 10 * GIB_PER_TIB;
const KW_FROM_W = 10_000;

/** 0-100 as "37%"; "-" for what is not known. */
export function percentText(percent: number | undefined): string {
  return percent === undefined ? NOTHING : `${percent.toFixed(0)}%`;
}

/** Use of a capacity, both in MiB, as "12.3/640.0 GiB"; "-" for the part that is not known. */
export function memoryText(used: number | undefined, total: number | undefined): string {
  const largest = Math.max(used ?? 0, total ?? 0);
  if (used === undefined && total === undefined) return NOTHING;
  const inTib = largest / MIB_PER_GIB >= TIB_FROM_GIB;
  const perUnit = inTib ? MIB_PER_GIB * GIB_PER_TIB : MIB_PER_GIB;
  const text = (mebibytes: number | undefined) =>
    mebibytes === undefined ? NOTHING : (mebibytes / perUnit).toFixed(1);
  return `${text(used)}/${text(total)} ${inTib ? "TiB" : "GiB"}`;
}

/** W as "312 W", or "12.3 kW" for whole fleets; with a limit "312/700 W". */
export function powerText(watts: number | undefined, limit?: number): string {
  if (watts === undefined && limit === undefined) return NOTHING;
  if (watts !== undefined && watts >= KW_FROM_W) return `${(watts / 1000).toFixed(1)} kW`;
  const used = watts === undefined ? NOTHING : watts.toFixed(0);
  return limit === undefined ? `${used} W` : `${used}/${limit.toFixed(0)} W`;
}

/** Degrees Celsius as "54 °C". */
export function temperatureText(celsius: number | undefined): string {
  return celsius === undefined ? NOTHING : `${celsius.toFixed(0)} °C`;
}

/** MHz as "1980 MHz". */
export function clockText(megahertz: number | undefined): string {
  return megahertz === undefined ? NOTHING : `${megahertz.toFixed(0)} MHz`;
}

/** A part of a count as "3/4"; the count alone when the part is not known. */
export function shareText(part: number | undefined, total: number | undefined): string {
  if (total === undefined) return NOTHING;
  return part === undefined ? String(total) : `${part}/${total}`;
}

/** A count, or cores with their fraction as "3.2/64". */
export function coresText(used: number | undefined, total: number | undefined): string {
  if (total === undefined) return NOTHING;
  return `${used === undefined ? NOTHING : used.toFixed(1)}/${total}`;
}

/** An age as people say it: "0.4s", "21s", "3m10s", "2h05m", "3d04h". */
export function ageText(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return NOTHING;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  const two = (count: number) => String(count).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)}h${two(Math.floor(whole / 60) % 60)}m`;
  return `${Math.floor(whole / 86_400)}d${two(Math.floor(whole / 3_600) % 24)}h`;
}

/** A list as "a, b" with at most `most` items and how many more there are; "-" without any. */
export function listText(value: unknown, most = 3): string {
  if (!Array.isArray(value)) return cellText(value);
  if (value.length === 0) return NOTHING;
  const shown = value.slice(0, most).map(cellText).join(", ");
  return value.length > most ? `${shown} +${value.length - most}` : shown;
}
