/** One figure of a benchmark, printed as one JSON line. */
export interface Figure {
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  /** What it was measured against in the same run, with the ratio value / baseline. */
  readonly baseline?: { readonly name: string; readonly value: number; readonly ratio: number };
  readonly runs?: number;
}

/** Prints a figure. */
export type Emit = (figure: Figure) => void;

/** How a benchmark is run. */
export interface BenchOptions {
  /** Small and short, to see that it works: its figures mean nothing. */
  readonly quick: boolean;
}

/** A benchmark: starts what it needs, prints its figures, ends everything. */
export type Bench = (emit: Emit, options: BenchOptions) => Promise<void>;

/** The p-quantile (0-1) of unsorted numbers. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

/** Median of unsorted numbers. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** A number with three significant digits. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** A figure against its baseline. */
export function compared(
  figure: Omit<Figure, "baseline">,
  baseline: { readonly name: string; readonly value: number },
): Figure {
  return {
    ...figure,
    value: rounded(figure.value),
    baseline: {
      name: baseline.name,
      value: rounded(baseline.value),
      ratio: rounded(figure.value / baseline.value),
    },
  };
}
