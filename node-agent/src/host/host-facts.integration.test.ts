import { expect, it } from "vitest";
import { HostFactsReader } from "./host-facts.ts";
import { MountProbe, type MountSpace } from "./mount-probe.ts";

const GIB = 1_073_741_824;

/** A machine whose disks are those of this one, with room and life of the test's choosing. */
function machine() {
  const state = { totalBytes: 100 * GIB, isDead: false };
  const probe = new MountProbe(async (): Promise<MountSpace> => {
    if (state.isDead) throw new Error("EIO");
    const { totalBytes } = state;
    return { totalBytes, freeBytes: 0, availableBytes: 0, isDirectory: true };
  });
  return { state, reader: new HostFactsReader(probe) };
}

it("gives the same facts while nothing changes, and new ones when a disk has grown", async () => {
  const { state, reader } = machine();
  const before = await reader.read();
  expect(before.cpu?.logicalCores).toBeGreaterThan(0);
  expect(await reader.refresh(before)).toBe(before);
  // Less than 5 %: the size of a pool that others share, no other disk.
  state.totalBytes = 101 * GIB;
  expect(await reader.refresh(before)).toBe(before);
  state.totalBytes = 200 * GIB;
  const after = await reader.refresh(before);
  expect(after.disks.map(({ sizeMib }) => sizeMib)).toEqual(
    before.disks.map(() => BigInt((200 * GIB) / 1_048_576)),
  );
});

it("keeps a disk that is mounted and does not answer", async () => {
  const { state, reader } = machine();
  const before = await reader.read();
  state.isDead = true;
  expect(await reader.refresh(before)).toBe(before);
});

it("forgets what is no longer mounted or plugged in, and finds what is", async () => {
  const { reader } = machine();
  const facts = await reader.read();
  const disk = {
    $typeName: "berth.node.v1.DiskInfo" as const,
    device: "/dev/gone",
    mountPoint: "/gone",
    fileSystem: "ext4",
    sizeMib: 1n,
  };
  const before = { ...facts, disks: [disk], networkInterfaces: [] };
  const after = await reader.refresh(before);
  expect(after.disks.map(({ device }) => device)).not.toContain("/dev/gone");
  expect(after.disks).toEqual(facts.disks);
  expect(after.networkInterfaces).toEqual(facts.networkInterfaces);
});
