import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { BlockSpec, InstanceSpec } from "../runtime.ts";
import { executorDeployment, executorRoute, executorService, rootObject } from "./block-objects.ts";
import { type InstanceRules, instanceDeployment, instanceService } from "./instance-objects.ts";
import { parseWorkloadOptions } from "./workload-options.ts";

const OWNERSHIP = { operationId: "op-1", fence: { storeId: "store-1", controllerTerm: "7" } };
const BLOCK: BlockSpec = { blockId: "blk-a", ownership: OWNERSHIP };
const SPEC: InstanceSpec = {
  blockId: "blk-a",
  instanceId: "in-x4k9mq2p",
  nodeId: "gpu-node-1",
  image: "registry.example/team/model:1.2",
  command: ["serve", "--path=$(HOME)"],
  env: {
    MODEL: "m",
    PRICE: "$(MODEL)",
    KUBERNETES_NODE_NAME: "mine",
    NVIDIA_VISIBLE_DEVICES: "all",
  },
  initDataJson: '{"weights":"w"}',
  devices: [
    { uuid: "GPU-1", slot: 0, memoryMiB: 81_920 },
    { uuid: "MIG-2", slot: 1, memoryMiB: 20_000 },
    { uuid: "GPU-3", slot: 2, memoryMiB: 1_000, isShared: true },
  ],
  cpuMillis: 1_500,
  memoryMiB: 256,
  storageMiB: 32,
  allocationId: "alloc-1",
  ownership: OWNERSHIP,
};
const RULES: InstanceRules = {
  clusterId: "cl-1",
  namespace: "blocks",
  gpuBinding: "exclusive",
  options: {},
};
const OPTIONS = parseWorkloadOptions({
  imagePullSecrets: ["registry"],
  runtimeClassName: "nvidia",
  tolerations: [{ key: "gpu", operator: "Exists" }],
  runAsUser: 1_000,
  terminationGraceSeconds: 60,
  instance: {
    env: { METRICS_REDIS_HOST: "redis.metrics" },
    sidecars: [{ name: "redis", image: "redis:7", ports: [{ name: "redis", port: 6_379 }] }],
  },
  executor: {
    containers: [
      {
        name: "block-executor",
        image: "registry.example/executor:1",
        env: { BLOCKS_DB_URI: "http://blocks" },
        ports: [{ name: "grpc", port: 50_051 }],
        resources: { cpu: "100m" },
      },
    ],
    serviceType: "NodePort",
  },
  route: { gateway: "grpc-gateway", namespace: "gateways", port: 50_051 },
});
const ROOT = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "berth-block-blk-a", uid: "u-1" },
};
const DEPLOYMENT = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "blk-a-in-x4k9mq2p", uid: "u-2" },
};

function golden(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8"));
}

describe("the objects of a block", () => {
  it("are a root, and by default nothing beside its instances", () => {
    expect(rootObject(BLOCK, RULES)).toEqual(golden("root"));
    expect(executorDeployment(BLOCK, ROOT, RULES)).toBeUndefined();
    expect(executorService(BLOCK, ROOT, RULES)).toBeUndefined();
    expect(executorRoute(BLOCK, ROOT, RULES)).toBeUndefined();
  });

  it("are an executor with Service and route where an operator wants them", () => {
    const rules = { ...RULES, options: OPTIONS };
    expect(executorDeployment(BLOCK, ROOT, rules)).toEqual(golden("executor-deployment"));
    expect(executorService(BLOCK, ROOT, rules)).toEqual(golden("executor-service"));
    expect(executorRoute(BLOCK, ROOT, rules)).toEqual(golden("executor-route"));
  });
});

describe("the objects of an instance", () => {
  it("are a Deployment and a Service of the existing names, restricted, with devices by UUID", () => {
    expect(instanceDeployment(SPEC, ROOT, RULES)).toEqual(golden("instance-deployment"));
    expect(instanceService(SPEC, DEPLOYMENT, RULES)).toEqual(golden("instance-service"));
  });

  it("have side-cars, pull secrets, runtime class and user of an operator's file", () => {
    const rules = { ...RULES, options: OPTIONS };
    expect(instanceDeployment(SPEC, ROOT, rules)).toEqual(golden("instance-deployment-options"));
    expect(instanceService(SPEC, DEPLOYMENT, rules)).toEqual(golden("instance-service-options"));
  });

  it("ask Kubernetes for GPUs and name none where they are counted", () => {
    const devices = SPEC.devices.map((device, slot) => ({ ...device, uuid: `GPU-${slot}` }));
    const counted = instanceDeployment({ ...SPEC, devices }, ROOT, {
      ...RULES,
      gpuBinding: "counted",
    });
    const { env, resources } = containerOf(counted);
    expect(resources.limits).toMatchObject({ "nvidia.com/gpu": "3", cpu: "1500m" });
    expect(env.map(({ name }) => name)).not.toContain("NVIDIA_VISIBLE_DEVICES");
    expect(env.map(({ name }) => name)).not.toContain("CUDA_VISIBLE_DEVICES");
  });

  it.each(["exclusive", "counted"] as const)(
    "show no GPU to an instance without, %s",
    (gpuBinding) => {
      const bare = instanceDeployment({ ...SPEC, devices: [] }, ROOT, { ...RULES, gpuBinding });
      const { env, resources } = containerOf(bare);
      expect(env).toContainEqual({ name: "NVIDIA_VISIBLE_DEVICES", value: "void" });
      expect(resources.limits).toEqual(resources.requests);
    },
  );

  it("are the same pod template whoever ordered them", () => {
    const other = { ...SPEC, ownership: { ...OWNERSHIP, operationId: "op-2" } };
    const [a, b] = [instanceDeployment(SPEC, ROOT, RULES), instanceDeployment(other, ROOT, RULES)];
    expect(b).toHaveProperty("spec", (a as { spec?: unknown }).spec);
    expect(b.metadata).not.toEqual(a.metadata);
  });
});

function containerOf(deployment: unknown) {
  const { spec } = deployment as {
    spec: {
      template: {
        spec: {
          containers: {
            env: { name: string }[];
            resources: { limits: object; requests: object };
          }[];
        };
      };
    };
  };
  const [container] = spec.template.spec.containers;
  if (container === undefined) throw new Error("no container");
  return container;
}
