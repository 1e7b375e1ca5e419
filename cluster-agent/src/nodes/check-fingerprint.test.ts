import type { Fingerprint } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";
import { checkFingerprint, checkRegistration } from "./check-fingerprint.ts";

describe("checkRegistration", () => {
  it("turns a good registration into plain numbers", () => {
    const checked = checkRegistration(
      registerRequest({ nodeIncarnation: 7n, fingerprint: fingerprint({ gpus: ["GPU-1"] }) }),
    );
    expect(checked).toMatchObject({
      nodeId: "node-a",
      incarnation: 7,
      inventory: {
        machineId: "machine-a",
        cpu: { logicalCores: 16, physicalCores: 8 },
        memoryMiB: 64_000,
        networkInterfaces: [{ name: "eth0", speedMbps: 10_000 }, { name: "eth1" }],
        gpus: [{ uuid: "GPU-1", memoryMiB: 81_920 }],
      },
    });
    expect(checked.inventory.networkInterfaces[1]).not.toHaveProperty("speedMbps");
    expect(checked.inventory.gpus[0]).not.toHaveProperty("migEnabled");
  });

  it.each(["", "-a", "a-", "A", "a b", "a/b", "__proto__", "a".repeat(254)])(
    "refuses the node id %j and names the field",
    (nodeId) => {
      expect(() => checkRegistration(registerRequest({ nodeId }))).toThrow(/^node_id: expected/);
    },
  );

  it.each(["a", "node-1.rack.example", "a".repeat(253)])("takes the node id %j", (nodeId) => {
    expect(checkRegistration(registerRequest({ nodeId })).nodeId).toBe(nodeId);
  });

  it("refuses a registration without a fingerprint", () => {
    const request = registerRequest();
    delete request.fingerprint;
    expect(() => checkRegistration(request)).toThrow("fingerprint: expected a fingerprint");
  });

  it.each([
    ["former_instance_ids.1", ["a", ""]],
    ["former_instance_ids", Array<string>(257).fill("a")],
  ])("refuses a past that does not hold and names %s", (field, formerInstanceIds) => {
    const check = () => checkRegistration(registerRequest({ formerInstanceIds }));
    expect(check).toThrow(`${field}: expected`);
  });

  it("refuses an incarnation beyond what it can keep exactly", () => {
    const request = registerRequest({ nodeIncarnation: 2n ** 60n });
    expect(() => checkRegistration(request)).toThrow(/^node_incarnation: expected a number/);
  });
});

describe("checkFingerprint", () => {
  const bad: [string, (print: Fingerprint) => void, RegExp][] = [
    ["no identity", (print) => delete print.identity, /identity\.machine_id: expected/],
    ["no processor", (print) => delete print.cpu, /cpu\.logical_cores: expected/],
    ["no memory", (print) => (print.memoryMib = 0n), /memory_mib: expected/],
    ["absurd memory", (print) => (print.memoryMib = 2n ** 63n), /memory_mib: expected/],
    ["a long host name", (print) => (print.hostname = "x".repeat(257)), /hostname: expected/],
    [
      "one GPU twice",
      (print) => print.gpus.push(...fingerprint({ gpus: ["GPU-1"] }).gpus),
      /gpus\.uuid: expected different values, got GPU-1 twice/,
    ],
    [
      "too many GPUs",
      (print) => (print.gpus = fingerprint({ gpus: Array(65).fill("GPU-x") }).gpus),
      /gpus: expected at most 64 items, got 65/,
    ],
    [
      "a GPU without UUID",
      (print) => (print.gpus = fingerprint({ gpus: [""] }).gpus),
      /gpus\.0\.uuid: expected/,
    ],
    [
      "a power limit that is no number",
      (print) => {
        print.gpus = fingerprint({ gpus: ["GPU-2"] }).gpus;
        for (const gpu of print.gpus) gpu.powerLimitW = Number.NaN;
      },
      /gpus\.0\.power_limit_w: expected/,
    ],
  ];

  it.each(bad)("refuses %s", (_what, spoil, message) => {
    const print = fingerprint({ gpus: ["GPU-1"] });
    spoil(print);
    expect(() => checkFingerprint(print)).toThrow(message);
  });

  it("takes a machine without swap, disks, network and GPUs", () => {
    const print = fingerprint();
    Object.assign(print, { swapMib: 0n, disks: [], networkInterfaces: [] });
    expect(checkFingerprint(print)).toMatchObject({ swapMiB: 0, disks: [], gpus: [] });
  });
});
