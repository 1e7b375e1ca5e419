import { expect, it } from "vitest";
import { MountProbe, type MountSpace } from "./mount-probe.ts";

const SPACE: MountSpace = { totalBytes: 10, freeBytes: 5, availableBytes: 4, isDirectory: true };

it("answers in the order it is asked, without what cannot be read", async () => {
  const probe = new MountProbe(async (mountPoint) => {
    if (mountPoint === "/gone") throw new Error("ENOENT");
    return SPACE;
  });
  expect(await probe.read(["/", "/gone", "/data"])).toEqual([SPACE, undefined, SPACE]);
});

it("loses no more than two threads to dead disks, and asks them again when they come back", async () => {
  const dead = new Map<string, PromiseWithResolvers<MountSpace>>();
  const asked: string[] = [];
  const probe = new MountProbe((mountPoint) => {
    asked.push(mountPoint);
    if (!mountPoint.startsWith("/dead")) return Promise.resolve(SPACE);
    const answer = Promise.withResolvers<MountSpace>();
    dead.set(mountPoint, answer);
    return answer.promise;
  });
  expect(await probe.read(["/dead1", "/", "/dead2", "/dead3", "/data"])).toEqual([
    undefined,
    SPACE,
    undefined,
    undefined,
    undefined,
  ]);
  expect(asked).toEqual(["/dead1", "/", "/dead2"]);
  expect(await probe.read(["/dead1", "/"])).toEqual([undefined, undefined]);
  expect(asked).toHaveLength(3);
  dead.get("/dead1")?.resolve(SPACE);
  await dead.get("/dead1")?.promise;
  expect(await probe.read(["/"])).toEqual([SPACE]);
});
