import { describe, expect, it } from "vitest";
import type { NodeObject } from "./kube-objects.ts";
import { quantity, toldNode, toldNodes } from "./told-node.ts";

const ready = { type: "Ready", status: "True" };

/** A Ready node with the label nodeID=gpu-7. */
function node(more: { name?: string; spec?: NodeObject["spec"]; conditions?: object[] } = {}) {
  const { name = "ip-10-0-0-7", spec = {}, conditions = [ready] } = more;
  const allocatable = { cpu: "7910m", memory: "2Gi", "ephemeral-storage": "10737418240" };
  return toldNode({
    metadata: { name, labels: { nodeID: "gpu-7" } },
    spec,
    status: { allocatable, conditions, nodeInfo: { osImage: "Debian", architecture: "amd64" } },
  });
}

describe("toldNode", () => {
  it("gives the id of the label, and what pods may have", () => {
    expect(node()).toEqual({
      ...{ nodeId: "gpu-7", name: "ip-10-0-0-7", isReady: true },
      ...{ cpuMillis: 7_910, memoryMiB: 2_048, storageMiB: 10_240 },
      ...{ osRelease: "Debian", kernelRelease: "", architecture: "amd64" },
    });
  });

  it("lets nothing go to a node that is cordoned, which is Ready nevertheless", () => {
    const cordoned = node({ spec: { unschedulable: true } });
    expect(cordoned).toMatchObject({ isReady: true, refusal: "cordoned in Kubernetes" });
  });

  it.each([
    ["False", "not Ready in Kubernetes (KubeletNotReady: PLEG is not healthy)"],
    ["Unknown", "not Ready in Kubernetes (KubeletNotReady: PLEG is not healthy)"],
  ])("says why a node is not Ready: %s", (status, refusal) => {
    const why = { reason: "KubeletNotReady", message: "PLEG is not healthy" };
    const unready = node({ conditions: [{ ...ready, status, ...why }] });
    expect(unready).toMatchObject({ isReady: false, refusal });
  });

  it("takes a node that says nothing of itself as not Ready, with nothing to give", () => {
    const told = toldNode({ metadata: { name: "n", labels: { nodeID: "n" } } });
    const amounts = { cpuMillis: 0, memoryMiB: 0, storageMiB: 0 };
    expect(told).toMatchObject({ isReady: false, refusal: "not Ready in Kubernetes", ...amounts });
  });
});

describe("toldNodes", () => {
  it("gives one node per id, and none of use where several have it", () => {
    const [told, ...others] = toldNodes([node({ name: "b" }), node({ name: "a" })]);
    expect(others).toEqual([]);
    expect(told).toMatchObject({ nodeId: "gpu-7", isReady: false });
    expect(told?.refusal).toBe("2 Kubernetes nodes have the label nodeID=gpu-7: a, b");
  });
});

describe("quantity", () => {
  it.each([
    ["96", 96],
    ["7910m", 7.91],
    ["1.5Gi", 1.5 * 2 ** 30],
    ["1e3", 1_000],
    ["2E", 2e18],
    ["16384Ki", 2 ** 24],
    ["many", 0],
    ["1Xi", 0],
    ["", 0],
  ])("reads %j as %d", (text, amount) => {
    expect(quantity(text)).toBeCloseTo(amount);
  });
});
