/**
 * Works on all items, begun in their order, on no more than `most` of them at a time. After a failure nothing more is begun;
 * rejects with the first one when all that was begun is over.
 */
export async function atOnce<T>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const waiting = [...items].values();
  const loop = async (): Promise<void> => {
    for (const item of waiting) {
      try {
        await work(item);
      } catch (thrown) {
        failures.push(thrown);
      }
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: most }, loop));
  if (failures.length > 0) throw failures[0];
}
