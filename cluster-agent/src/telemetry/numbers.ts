/** Numbers by key. */
export type Numbers = Readonly<Record<string, number>>;

/** The entries whose value is known: unknown values are absent, never zero. */
export function known(
  values: Readonly<Record<string, number | undefined>>,
): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [key, value] of Object.entries(values)) if (value !== undefined) result[key] = value;
  return result;
}

/** Sum of the known values; undefined when there is none. */
export function sum(values: readonly (number | undefined)[]): number | undefined {
  const present = values.filter((value) => value !== undefined);
  return present.length === 0 ? undefined : present.reduce((total, value) => total + value, 0);
}

/** Mean of the known values; undefined when there is none. */
export function mean(values: readonly (number | undefined)[]): number | undefined {
  const present = values.filter((value) => value !== undefined);
  const total = sum(present);
  return total === undefined ? undefined : total / present.length;
}

/** `part` of `whole` in percent; undefined when either is unknown or the whole is zero. */
export function percent(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || whole === undefined || whole <= 0
    ? undefined
    : Math.min(100, (100 * part) / whole);
}
