/**
 * The result of `work`, or undefined when it takes longer than `limitMs` or rejects. For reads of the
 * kernel and of other programs' output that may hang or be missing: an absent value is the answer.
 */
export async function within<T>(work: Promise<T>, limitMs: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), limitMs);
  try {
    return await Promise.race([work.catch(() => undefined), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
