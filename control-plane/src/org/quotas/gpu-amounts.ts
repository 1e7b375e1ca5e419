import { BerthError, isJsonObject, typeName } from "@berth/service-kit";

/** Thousandths of GPUs by flavor: `{"NVIDIA H100 80GB HBM3": 4000}`. Whole numbers from 0. */
export type GpuAmounts = Readonly<Record<string, number>>;

const MILLI = 1_000;
const MAX_GPUS = 1_000_000;
const MAX_FLAVORS = 64;
const MAX_FLAVOR_CHARACTERS = 128;

/**
 * Reads GPUs by flavor as clients write them, `{"H100": 4, "L4": 0.5}`: numbers from 0 with up to three decimals. Null and
 * undefined give undefined. INVALID_ARGUMENT names the field.
 */
export function readGpuAmounts(field: string, value: unknown): GpuAmounts | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isJsonObject(value)) {
    const message = `${field}: expected GPUs by flavor, {"H100": 4}, got ${typeName(value)}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const entries = Object.entries(value);
  if (entries.length > MAX_FLAVORS) {
    const message = `${field}: expected at most ${MAX_FLAVORS} flavors, got ${entries.length}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return Object.fromEntries(
    entries.map(([flavor, gpus]) => {
      checkFlavor(field, flavor);
      return [flavor, readMilliGpus(`${field}.${flavor}`, gpus)];
    }),
  );
}

/** Reads one amount of GPUs as thousandths. INVALID_ARGUMENT names the field. */
export function readMilliGpus(field: string, value: unknown): number {
  const milli = typeof value === "number" ? Math.round(value * MILLI) : Number.NaN;
  const isExact = typeof value === "number" && Math.abs(milli - value * MILLI) < 1e-6;
  if (isExact && milli >= 0 && milli <= MAX_GPUS * MILLI) return milli;
  const got = typeof value === "number" ? String(value) : typeName(value);
  const message = `${field}: expected GPUs, a number from 0 to ${MAX_GPUS} with up to three decimals, got ${got}`;
  throw new BerthError("INVALID_ARGUMENT", message);
}

/** Amounts as clients read them, in GPUs. */
export function showGpuAmounts(amounts: GpuAmounts): Record<string, number> {
  return Object.fromEntries(
    Object.entries(amounts).map(([flavor, milli]) => [flavor, milli / MILLI]),
  );
}

/** The greater amount of each flavor that one of them names. */
export function greater(one: GpuAmounts, other: GpuAmounts): GpuAmounts {
  return combined(one, other, Math.max);
}

/** The lesser amount of each flavor; those of which one has none are left out. */
export function lesser(one: GpuAmounts, other: GpuAmounts): GpuAmounts {
  return combined(one, other, Math.min);
}

/** Both together. */
export function sumOf(one: GpuAmounts, other: GpuAmounts): GpuAmounts {
  return combined(one, other, (milli, more) => milli + more);
}

/** What is left of one when the other is taken away. */
export function without(one: GpuAmounts, other: GpuAmounts): GpuAmounts {
  return combined(one, other, (milli, less) => milli - less);
}

/** Whether there is more of any flavor than before. */
export function isMore(gpus: GpuAmounts, before: GpuAmounts): boolean {
  return Object.entries(gpus).some(([flavor, milli]) => milli > (before[flavor] ?? 0));
}

function combined(
  one: GpuAmounts,
  other: GpuAmounts,
  join: (milli: number, otherMilli: number) => number,
): GpuAmounts {
  const flavors = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries(
    [...flavors].flatMap((flavor) => {
      const milli = join(one[flavor] ?? 0, other[flavor] ?? 0);
      return milli > 0 ? [[flavor, milli] as const] : [];
    }),
  );
}

/** An amount for people: "4 GPUs", "0.5 GPUs", "1 GPU". */
export function gpusText(milli: number): string {
  return milli === MILLI ? "1 GPU" : `${milli / MILLI} GPUs`;
}

function checkFlavor(field: string, flavor: string): void {
  if (flavor !== "" && flavor.length <= MAX_FLAVOR_CHARACTERS && flavor !== "__proto__") return;
  const message = `${field}: expected flavors of 1-${MAX_FLAVOR_CHARACTERS} characters`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
