import { expect, it } from "vitest";
import type { NodeCapacity } from "../ledger/claim.ts";
import { claimedDevices } from "./device-ids.ts";

const part = { uuid: "MIG-1", memoryMiB: 20_000 };
const capacity: NodeCapacity = {
  ...{ nodeId: "node-a", cpuMillis: 1, memoryMiB: 1, storageMiB: 1 },
  gpus: [
    { uuid: "GPU-a", slot: 0, memoryMiB: 80_000, migEnabled: false, migDevices: [] },
    { uuid: "GPU-b", slot: 1, memoryMiB: 80_000, migEnabled: true, migDevices: [part] },
  ],
};
const claimed = (ids: unknown, memoryMiB?: number) =>
  claimedDevices(ids, { capacity, memoryMiB, field: "gpus" });

it.each<[unknown, number | undefined, object[]]>([
  [[0, "1"], undefined, [{ uuid: "GPU-a" }, { uuid: "GPU-b" }]],
  [["GPU-b"], 10_000, [{ uuid: "GPU-b", memoryMiB: 10_000 }]],
  [["MIG-1"], 10_000, [{ uuid: "MIG-1" }]],
  [[], undefined, []],
  [null, undefined, []],
])("takes %j", (ids, memoryMiB, claims) => {
  expect(claimed(ids, memoryMiB)).toEqual(claims);
});

it.each<[unknown, RegExp]>([
  [["0", 0], /^gpus: names GPU-a twice$/],
  [[2], /^gpus.0: node node-a has GPUs 0 to 1, not 2$/],
  [["GPU-x"], /not "GPU-x"$/],
  [[{}], /expected a slot or a UUID, got object$/],
  [[-1], /not -1$/],
  [[0.5], /not 0.5$/],
  ["0", /^gpus: expected a list of at most 256 GPUs, got string$/],
])("refuses %j by name", (ids, message) => {
  expect(() => claimed(ids)).toThrow(message);
});
