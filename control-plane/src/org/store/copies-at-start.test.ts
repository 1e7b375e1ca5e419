import { type Mirror, type MirrorCopies, silentLogger } from "@berth/service-kit";
import { describe, expect, it, vi } from "vitest";
import { copiesAtStart } from "./copies-at-start.ts";

const COPY = [{ key: "k", revision: 1, body: {} }];
const WHOLE: MirrorCopies = { copies: [COPY, []], isWhole: true };
const SLOW: MirrorCopies = { copies: [[]], isWhole: false };

/** A mirror that gives these, the last one again and again. */
function mirror(isConnected: boolean, ...found: readonly MirrorCopies[]) {
  const copies = vi.fn(async () => {
    return found[Math.min(copies.mock.calls.length, found.length) - 1] ?? SLOW;
  });
  const status = { driver: "redis", isConnected, pending: 0 } as const;
  return { copies, status } as unknown as Mirror & { readonly copies: typeof copies };
}

describe("the copies at a start", () => {
  const read = (of: Mirror, isEmpty: boolean) =>
    copiesAtStart(of, isEmpty, silentLogger, { waitMs: 200, againMs: 1 });

  it.each([true, false])(
    "are waited for while the mirror is slow, store empty: %s",
    async (isEmpty) => {
      const slow = mirror(true, SLOW, SLOW, WHOLE);
      expect(await read(slow, isEmpty)).toBe(WHOLE);
      expect(slow.copies).toHaveBeenCalledTimes(3);
    },
  );

  it("are waited for so long at most", async () => {
    const stuck = mirror(true, SLOW);
    expect(await read(stuck, false)).toBe(SLOW);
    expect(stuck.copies.mock.calls.length).toBeGreaterThan(2);
  });

  it("are not waited for when the mirror is away and the store has something", async () => {
    const away = mirror(false, SLOW);
    expect(await read(away, false)).toBe(SLOW);
    expect(away.copies).toHaveBeenCalledTimes(1);
  });
});
