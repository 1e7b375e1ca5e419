import { expect, it } from "vitest";
import { parseBlockEntry } from "../blocks/block-entry.ts";
import { lackingDevices } from "./leased-devices.ts";

const entry = (resources: object, more: object = {}) =>
  parseBlockEntry({ id: "b", resources, ...more });
const policies = { resourceAllocator: { policyRuleURI: "p:1-s" } };
const whole = (uuid: string) => ({ uuid });
const share = (uuid: string, memoryMiB: number) => ({ uuid, memoryMiB });

it.each([
  ["a whole device for one", entry({ gpus: 1 }), [whole("a")]],
  ["more devices than needed", entry({ gpus: 1 }), [whole("a"), whole("b")]],
  ["a share as large as needed", entry({ gpus: 1, gpuMemoryMiB: 5 }), [share("a", 5)]],
  ["a whole device for a share", entry({ gpus: 1, gpuMemoryMiB: 5 }), [whole("a")]],
  ["none for none", entry({}), []],
  ["as many as a policy says", entry({ gpus: 2 }, { policies }), [whole("a")]],
])("is nothing with %s", (_name, block, devices) => {
  expect(lackingDevices(block, { devices })).toBeUndefined();
});

it.each([
  ["1 MiB of a, expected the whole of it", entry({ gpus: 1 }), [share("a", 1)]],
  ["1 MiB of a, expected the whole of it", entry({ gpus: 1 }, { policies }), [share("a", 1)]],
  ["4 MiB of a, expected 5 MiB of it", entry({ gpus: 1, gpuMemoryMiB: 5 }), [share("a", 4)]],
  ["1 GPUs, expected 2 for an instance of the block", entry({ gpus: 2 }), [whole("a")]],
  ["0 GPUs, expected 1 for an instance of the block", entry({ gpus: 1 }), []],
])("is %s", (lacking, block, devices) => {
  expect(lackingDevices(block, { devices })).toBe(lacking);
});
