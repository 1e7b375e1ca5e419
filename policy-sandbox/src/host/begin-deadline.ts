/** A worker that lives reads what it is sent within milliseconds, on a machine that is much too busy in a second. */
const BEGIN_MS = 5_000;
const MS_PER_MIB = 500;
/** What it has said by then may still lie in the pipe: when this process was stopped, too, that is read first. */
const LAST_LOOK_MS = 250;
const MIB = 1024 * 1024;

/** A job that was sent to a worker. */
export interface SentJob {
  readonly sections: readonly Uint8Array[];
  /** Whether the worker has said that it has all of it, or nobody waits for that any more. */
  readonly isSettled: () => boolean;
}

/** Calls `onLate` unless the worker takes in the job in time: one that was stopped never does. */
export function beginDeadline(
  { sections, isSettled }: SentJob,
  onLate: () => void,
): NodeJS.Timeout {
  const bytes = sections.reduce((sum, section) => sum + section.byteLength, 0);
  const lookAgain = () => {
    setTimeout(() => {
      if (!isSettled()) onLate();
    }, LAST_LOOK_MS);
  };
  return setTimeout(
    () => {
      if (!isSettled()) lookAgain();
    },
    BEGIN_MS + (bytes / MIB) * MS_PER_MIB,
  );
}
