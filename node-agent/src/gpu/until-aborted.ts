/** Resolves when `wait` does or `signal` is aborted, whichever is first. */
export async function untilAborted(wait: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const aborted = Promise.withResolvers<void>();
  const resolve = () => aborted.resolve();
  signal.addEventListener("abort", resolve, { once: true });
  await Promise.race([wait, aborted.promise]);
  signal.removeEventListener("abort", resolve);
}
