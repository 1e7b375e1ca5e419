import { NodeRegisterResponseSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { readRegistration } from "./registration.ts";

const read = (gpuIntervalMs: number, hostIntervalMs: number, ttlMs: number) =>
  readRegistration(
    create(NodeRegisterResponseSchema, {
      nodeId: "n",
      clusterId: "c",
      registrationId: "r",
      gpuIntervalMs,
      hostIntervalMs,
      ttlMs,
    }),
  );

it("takes the server's intervals", () => {
  expect(read(2_000, 4_000, 15_000)).toEqual({
    nodeId: "n",
    clusterId: "c",
    registrationId: "r",
    gpuIntervalMs: 2_000,
    hostIntervalMs: 4_000,
  });
});

it.each([
  ["nothing said", [0, 0, 0], [1_000, 5_000]],
  ["far too often", [1, 1, 0], [100, 250]],
  ["hardly ever", [4e9, 4e9, 0], [600_000, 600_000]],
  ["a host interval beyond the TTL", [1_000, 60_000, 15_000], [1_000, 5_000]],
  ["a TTL that nobody can keep", [1_000, 5_000, 10], [1_000, 250]],
])("lives with %s", (_what, [gpu = 0, host = 0, ttl = 0], [gpuIntervalMs, hostIntervalMs]) => {
  expect(read(gpu, host, ttl)).toMatchObject({ gpuIntervalMs, hostIntervalMs });
});

it("is no registration without an id", () => {
  expect(readRegistration(create(NodeRegisterResponseSchema, { nodeId: "n" }))).toBeUndefined();
});
