/** Times of a `GpuMonitor`, in ms. */
export interface GpuTimings {
  /** Longest a query (inventory, MIG parts, topology, log) may take. */
  readonly listDeadlineMs: number;
  /** Longest a killed child may take to die before it counts as hung in the driver. */
  readonly abandonAfterMs: number;
  /** Silence after which a sampling child is killed that has printed; at least three intervals are given. */
  readonly quietLimitMs: number;
  /** Time that a sampling child is given for its first line. */
  readonly firstLineMs: number;
  /** A child that ran for so long is followed by another one without a longer delay. */
  readonly steadyMs: number;
  /** First and longest delay before a new child after one ended. */
  readonly restartFirstMs: number;
  readonly restartCapMs: number;
  /** Shortest time between two inventories when the readings do not fit the one we have. */
  readonly relistMs: number;
  /** The same when the driver says that it has lost a GPU. */
  readonly relistLostMs: number;
  /** Time before the next look when no GPU could be listed, and when there is no driver at all. */
  readonly retryFailedMs: number;
  readonly retryAbsentMs: number;
  /** Time between two readings of the details. */
  readonly detailsMs: number;
  /** Time over which the cost of the sampling child is measured. */
  readonly costWindowMs: number;
}

/** Times for use in production; the deadlines are those of the failure model, §5. */
export const GPU_TIMINGS: GpuTimings = {
  listDeadlineMs: 20_000,
  abandonAfterMs: 5_000,
  quietLimitMs: 3_000,
  firstLineMs: 20_000,
  steadyMs: 60_000,
  restartFirstMs: 500,
  restartCapMs: 30_000,
  relistMs: 30_000,
  relistLostMs: 1_000,
  retryFailedMs: 60_000,
  retryAbsentMs: 300_000,
  detailsMs: 60_000,
  costWindowMs: 60_000,
};
