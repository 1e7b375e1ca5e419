import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Mirror } from "../mirror/mirror.ts";

/** How the contract suite reaches a driver. */
export interface MirrorHarness {
  /** Opens the mirror; all calls open the same, at first empty, one. */
  open(): Mirror | Promise<Mirror>;
  /** Removes what the harness made; every mirror is closed by then. */
  dispose(): void | Promise<void>;
}

/** The behaviour that every {@link Mirror} driver has. */
export function mirrorContract(
  name: string,
  makeHarness: () => MirrorHarness | Promise<MirrorHarness>,
): void {
  describe(`${name} as a mirror`, { timeout: 30_000 }, () => {
    let harness: MirrorHarness;
    let mirror: Mirror;
    beforeEach(async () => {
      harness = await makeHarness();
      mirror = await harness.open();
    });
    afterEach(async () => {
      await mirror.close();
      await harness.dispose();
    });
    const settle = () => mirror.settled(AbortSignal.timeout(10_000));

    it("gives what was put below a prefix, sorted, also when it is opened again", async () => {
      mirror.put({ key: "a/2", revision: 1, body: { n: [1, null, "é"] } });
      mirror.put({ key: "a/1", revision: 1, body: 1 });
      mirror.put({ key: "b/1", revision: 1, body: 1 });
      await settle();
      expect(mirror.status).toMatchObject({ pending: 0, isConnected: true });
      const wanted = [
        { key: "a/1", revision: 1, body: 1 },
        { key: "a/2", revision: 1, body: { n: [1, null, "é"] } },
      ];
      expect(await mirror.read("a/")).toEqual(wanted);
      await mirror.close();
      mirror = await harness.open();
      mirror.put({ key: "c", revision: 1, body: 1 });
      await settle();
      expect(await mirror.read("a/")).toEqual(wanted);
    });

    it("keeps the newest revision in whatever order they come", async () => {
      for (const revision of [2, 5, 3, 1, 4]) mirror.put({ key: "k", revision, body: revision });
      await settle();
      mirror.put({ key: "k", revision: 4, body: "old" });
      await settle();
      expect(await mirror.read("")).toEqual([{ key: "k", revision: 5, body: 5 }]);
    });

    it("keeps a removal against older revisions, and lets a newer one come back", async () => {
      mirror.put({ key: "k", revision: 2, body: undefined });
      mirror.put({ key: "k", revision: 1, body: 1 });
      await settle();
      expect(await mirror.read("k")).toEqual([{ key: "k", revision: 2, body: undefined }]);
      mirror.put({ key: "k", revision: 3, body: 3 });
      await settle();
      expect(await mirror.read("k")).toEqual([{ key: "k", revision: 3, body: 3 }]);
    });

    it("refuses wrong keys, revisions and bodies, and more than it may hold", () => {
      const wrong = [
        { key: "", revision: 1, body: 1 },
        { key: "a b", revision: 1, body: 1 },
        { key: "a", revision: -1, body: 1 },
        { key: "a", revision: 1, body: () => 1 },
      ];
      for (const entry of wrong) expect(() => mirror.put(entry)).toThrow(/must be/);
      const big = "x".repeat(70 * 1024 * 1024);
      mirror.put({ key: "big", revision: 1, body: big });
      expect(() => mirror.put({ key: "more", revision: 1, body: big })).toThrow(/at most/);
    });

    it("reads a prefix with the signs of patterns as it is", async () => {
      mirror.put({ key: "a*[b]", revision: 1, body: 1 });
      mirror.put({ key: "axb", revision: 1, body: 1 });
      await settle();
      expect((await mirror.read("a*[")).map(({ key }) => key)).toEqual(["a*[b]"]);
    });
  });
}
