import { describe, expect, it } from "vitest";
import type { ContainerStatus, DeploymentObject, PodObject } from "./kube-objects.ts";
import { type MadeInstances, observedInstances } from "./observed-instance.ts";

const LABELS = { blockID: "blk-a", instanceID: "in-a" };
const FACTS = {
  "berth.dev/spec-digest": "d1",
  "berth.dev/allocation-id": "alloc-1",
  "berth.dev/node-id": "node-1",
  "berth.dev/device-uuids": "GPU-1,GPU-2",
  "berth.dev/device-shares-mib": "GPU-2=500",
  "berth.dev/cpu-millis": "100",
  "berth.dev/memory-mib": "64",
  "berth.dev/storage-mib": "0",
};
const OWNERSHIP = {
  "berth.dev/operation-id": "op-1",
  "berth.dev/store-id": "store-1",
  "berth.dev/controller-term": "7",
};

function deployment(
  more: object = {},
  status: NonNullable<DeploymentObject["status"]> = {},
): DeploymentObject {
  const metadata = { name: "blk-a-in-a", labels: LABELS, annotations: { ...FACTS, ...OWNERSHIP } };
  return {
    metadata: { ...metadata, ...more },
    spec: { template: { metadata: { annotations: FACTS } } },
    status,
  };
}

function pod(name: string, status: NonNullable<PodObject["status"]>, more: object = {}): PodObject {
  const creationTimestamp = "2026-11-22T12:00:00Z";
  return {
    metadata: { name, labels: LABELS, annotations: FACTS, creationTimestamp, ...more },
    status,
  };
}

function running(
  more: Partial<ContainerStatus> = {},
  isReady = true,
): NonNullable<PodObject["status"]> {
  return {
    phase: "Running",
    podIP: "10.1.2.3",
    conditions: [{ type: "Ready", status: isReady ? "True" : "False" }],
    containerStatuses: [{ name: "instance", restartCount: 0, state: { running: {} }, ...more }],
  };
}

const one = (deployments: DeploymentObject[], pods: PodObject[]) =>
  observedInstances(deployments, pods)[0];

describe("an observed instance", () => {
  it("is not made again while its objects are the same", () => {
    const [deployments, pods] = [[deployment()], [pod("p-1", running())]];
    const made: MadeInstances = new WeakMap();
    const again = (...given: Parameters<typeof one>) => observedInstances(...given, made)[0];
    const former = again(deployments, pods);
    expect(again(deployments, pods)).toBe(former);
    expect(again(deployments, [pod("p-1", running({}, false))])?.isReady).toBe(false);
    expect(again(deployments, [])?.phase).toBe("pending");
    expect(again([deployment({ deletionTimestamp: "now" })], pods)?.phase).toBe("terminating");
  });

  it("is running and ready as its pod is, and answers at the pod's address", () => {
    expect(observedInstances([deployment()], [pod("p-1", running())])).toEqual([
      {
        ...{ blockId: "blk-a", instanceId: "in-a", nodeId: "node-1", allocationId: "alloc-1" },
        ...{ deviceUuids: ["GPU-1", "GPU-2"], sharesMiB: { "GPU-2": 500 } },
        ...{ cpuMillis: 100, memoryMiB: 64, storageMiB: 0 },
        ownership: { operationId: "op-1", fence: { storeId: "store-1", controllerTerm: "7" } },
        ...{ specDigest: "d1", phase: "running", isReady: true, restarts: 0, podName: "p-1" },
        endpoints: { control: "http://10.1.2.3:18001", metrics: "http://10.1.2.3:18000" },
      },
    ]);
  });

  it("answers at an IPv6 address too", () => {
    const status = { ...running(), podIP: "fd00::7" };
    expect(one([deployment()], [pod("p-1", status)])?.endpoints.control).toBe(
      "http://[fd00::7]:18001",
    );
  });

  it.each([
    ["without a pod", deployment(), [], "pending", /not started/],
    [
      "whose pods are refused",
      deployment(
        {},
        { conditions: [{ type: "ReplicaFailure", status: "True", message: "exceeded quota" }] },
      ),
      [],
      "pending",
      /exceeded quota/,
    ],
    [
      "that no node takes",
      deployment(),
      [
        pod("p", {
          phase: "Pending",
          conditions: [{ type: "PodScheduled", status: "False", message: "0/2 nodes" }],
        }),
      ],
      "pending",
      /no node takes it: 0\/2/,
    ],
    [
      "whose image cannot be had",
      deployment(),
      [
        pod(
          "p",
          running(
            { state: { waiting: { reason: "ImagePullBackOff", message: "no such image" } } },
            false,
          ),
        ),
      ],
      "pending",
      /ImagePullBackOff: no such image/,
    ],
    ["that is not ready", deployment(), [pod("p", running({}, false))], "running", /health check/],
    [
      "that ended and waits",
      deployment(),
      [
        pod(
          "p",
          running({ restartCount: 3, state: { waiting: { reason: "CrashLoopBackOff" } } }, false),
        ),
      ],
      "restarting",
      /CrashLoopBackOff/,
    ],
    [
      "that ended just now",
      deployment(),
      [pod("p", running({ state: { terminated: { exitCode: 137, reason: "OOMKilled" } } }, false))],
      "restarting",
      /code 137: OOMKilled/,
    ],
    [
      "whose pod is ending, and another one shall come",
      deployment(),
      [pod("p", running(), { deletionTimestamp: "2026-11-22T12:00:00Z" })],
      "restarting",
      /ending/,
    ],
    [
      "whose node refused its pod",
      deployment(),
      [pod("p", { phase: "Failed", reason: "OutOfnvidia.com/gpu", message: "no" })],
      "restarting",
      /OutOfnvidia/,
    ],
    [
      "that is being removed",
      deployment({ deletionTimestamp: "2026-11-22T12:00:00Z" }),
      [pod("p", running())],
      "terminating",
      /removed/,
    ],
    ["whose Deployment is gone", undefined, [pod("p", running())], "terminating", /still there/],
  ] as const)("%s", (_what, found, pods, phase, message) => {
    const instance = one(found === undefined ? [] : [found], [...pods]);
    expect(instance).toMatchObject({ phase, deviceUuids: ["GPU-1", "GPU-2"] });
    expect(instance?.message).toMatch(message);
    expect(instance?.isReady).toBe(false);
  });

  it("holds the devices of a pod of an earlier spec until that is gone, and shows the youngest pod", () => {
    const annotations = { ...FACTS, "berth.dev/device-uuids": "GPU-9" };
    const older = pod("p-1", running(), { annotations, creationTimestamp: "2026-11-22T11:00:00Z" });
    const instance = one([deployment()], [older, pod("p-2", running())]);
    expect(instance).toMatchObject({ deviceUuids: ["GPU-1", "GPU-2", "GPU-9"], podName: "p-2" });
  });

  it("holds a shared device whole while a pod of an earlier spec holds more of it", () => {
    const annotations = { ...FACTS, "berth.dev/device-shares-mib": "" };
    const instance = one([deployment()], [pod("p-1", running(), { annotations })]);
    expect(instance).toMatchObject({ deviceUuids: ["GPU-1", "GPU-2"], sharesMiB: {} });
    expect(one([deployment()], [pod("p-1", running())])?.sharesMiB).toEqual({ "GPU-2": 500 });
  });

  it("is read from its pod template where somebody took its annotations away", () => {
    const instance = one([deployment({ annotations: {} })], []);
    expect(instance).toMatchObject({ deviceUuids: ["GPU-1", "GPU-2"], allocationId: "alloc-1" });
    expect(instance?.ownership).toEqual({
      operationId: "",
      fence: { storeId: "", controllerTerm: "0" },
    });
  });

  it.each([
    ["berth.dev/memory-mib", "lots"],
    ["berth.dev/device-shares-mib", "GPU-2"],
    ["berth.dev/device-shares-mib", "GPU-2=much"],
  ])("fails the whole observation when it does not say what it holds: %s=%s", (key, value) => {
    const annotations = { ...FACTS, [key]: value };
    expect(() => observedInstances([deployment({ annotations })], [])).toThrow(
      `deployment blk-a-in-a has no readable annotation ${key}`,
    );
  });

  it("is none for the executor of a block, and for what has no labels", () => {
    const labels = { blockID: "blk-a", instanceID: "executor" };
    const executor = { metadata: { name: "blk-a-executor", labels } };
    const stranger = { metadata: { name: "stranger" } };
    expect(observedInstances([executor, stranger], [{ metadata: { labels } }, stranger])).toEqual(
      [],
    );
  });
});
